// Charts: hover and arrow keys read the values the server put beside each column.
vagus.tip = (() => {
  let box = null;
  const ensure = () => {
    if (!box) {
      box = document.createElement("div");
      box.className = "tip";
      box.setAttribute("role", "status");
      box.hidden = true;
      document.body.append(box);
    }
    return box;
  };
  return {
    show(hit, x, y) {
      const tip = ensure();
      tip.replaceChildren();
      const head = document.createElement("b");
      head.textContent = hit.dataset.at;
      tip.append(head);
      for (const pair of hit.dataset.values.split("\n").filter(Boolean)) {
        const [name, value] = pair.split("\t");
        const row = document.createElement("span");
        const strong = document.createElement("i");
        strong.textContent = value;
        row.append(name, strong);
        tip.append(row);
      }
      tip.hidden = false;
      const size = tip.getBoundingClientRect();
      const left = x + 16 + size.width > innerWidth ? x - size.width - 16 : x + 16;
      tip.style.left = `${Math.max(8, left)}px`;
      tip.style.top = `${Math.min(Math.max(8, y - size.height / 2), innerHeight - size.height - 8)}px`;
    },
    hide() {
      if (box) box.hidden = true;
    },
  };
})();

vagus.enhance((root) => {
  for (const chart of root.querySelectorAll("svg.chart")) {
    const hits = [...chart.querySelectorAll(".hit")];
    if (!hits.length) continue;
    // The <title>s are for browsers without script; with it the tip is better.
    for (const hit of hits) hit.querySelector("title")?.remove();
    const cursor = chart.querySelector(".cursor");
    let index = -1;
    const show = (i, x, y) => {
      index = i;
      const hit = hits[i];
      if (cursor && hit.dataset.x) {
        cursor.setAttribute("x1", hit.dataset.x);
        cursor.setAttribute("x2", hit.dataset.x);
        chart.classList.add("hover");
      }
      const box = hit.getBoundingClientRect();
      vagus.tip.show(hit, x ?? box.left + box.width / 2, y ?? box.top + Math.min(60, box.height / 2));
    };
    const hide = () => {
      chart.classList.remove("hover");
      vagus.tip.hide();
    };
    chart.addEventListener("pointermove", (event) => {
      const i = hits.indexOf(event.target.closest(".hit"));
      if (i >= 0) show(i, event.clientX, event.clientY);
      else hide();
    });
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(Math.min(hits.length - 1, Math.max(0, index + step)));
    });
  }
});
