// What a column of a chart tells: written beside it, or one value of each series that its legend shows.
vagus.valuesAt = (hit) => {
  if (hit.dataset.values !== undefined) return hit.dataset.values.split("\n").filter(Boolean).map((pair) => pair.split("\t"));
  const shown = [];
  let more = 0;
  for (const button of hit.closest(".graph")?.querySelectorAll(".keys button[aria-pressed=true]") ?? []) {
    button.told ??= button.dataset.values.split("\t");
    const value = button.told[Number(hit.dataset.column)];
    if (!value) continue;
    if (shown.length < 12) shown.push([button.querySelector(".name").textContent, value]);
    else more++;
  }
  if (more) shown.push([`and ${more} more`, ""]);
  return shown;
};

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
      for (const [name, value] of vagus.valuesAt(hit)) {
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

// Legends: an entry hides and shows its series; with Shift or Control it shows that one alone.
vagus.enhance((root) => {
  for (const graph of root.querySelectorAll(".graph")) {
    const keys = [...graph.querySelectorAll(".keys button")];
    const show = () => {
      for (const key of keys) {
        const isShown = key.getAttribute("aria-pressed") === "true";
        for (const line of graph.querySelectorAll(`g[data-series="${key.dataset.series}"]`)) line.classList.toggle("off", !isShown);
      }
    };
    const point = (key) => {
      for (const line of graph.querySelectorAll("g[data-series]")) {
        line.classList.toggle("faded", key !== null && line.dataset.series !== key.dataset.series);
      }
    };
    for (const key of keys) {
      key.addEventListener("click", (event) => {
        const press = (one, on) => one.setAttribute("aria-pressed", String(on));
        if (event.shiftKey || event.ctrlKey || event.metaKey) {
          const isAlone = keys.every((one) => (one === key) === (one.getAttribute("aria-pressed") === "true"));
          for (const one of keys) press(one, isAlone || one === key);
        } else {
          press(key, key.getAttribute("aria-pressed") !== "true");
        }
        show();
      });
      key.addEventListener("pointerenter", () => point(key));
      key.addEventListener("pointerleave", () => point(null));
      key.addEventListener("focus", () => point(key));
      key.addEventListener("blur", () => point(null));
    }
  }
});

// Drawing over a graph looks at that time alone.
vagus.enhance((root) => {
  for (const chart of root.querySelectorAll("[data-zoom] svg.chart")) {
    let from = null;
    const moment = (event) => event.target.closest(".hit")?.dataset.moment;
    chart.addEventListener("pointerdown", (event) => { from = event.button === 0 ? moment(event) : null; });
    chart.addEventListener("pointerup", (event) => {
      const to = moment(event);
      if (!from || !to || from === to) return;
      const url = new URL(location.href);
      url.searchParams.delete("range");
      url.searchParams.set("from", from < to ? from : to);
      url.searchParams.set("to", from < to ? to : from);
      location.assign(url);
    });
  }
});
