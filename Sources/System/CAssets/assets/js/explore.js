// Explore and dashboards: exact times, the live tail, panels that are asked anew, files into fields.
vagus.enhance((root) => {
  // A time chosen from the list wins over the exact one, which is emptied.
  for (const form of root.querySelectorAll("[data-explore], [data-dashboard]")) {
    const exact = [...form.querySelectorAll("[name=from], [name=to]")];
    form.querySelector("[name=range]")?.addEventListener("change", () => {
      for (const field of exact) field.value = "";
      form.requestSubmit();
    });
    if (form.matches("[data-dashboard]")) {
      // Several values of one variable go into one field: the server reads a name once.
      form.addEventListener("submit", () => {
        for (const select of form.querySelectorAll("select[multiple]")) {
          const hidden = document.createElement("input");
          hidden.type = "hidden";
          hidden.name = select.name;
          hidden.value = [...select.selectedOptions].map((option) => option.value).join("\x1f");
          select.removeAttribute("name");
          form.append(hidden);
        }
      });
      for (const select of form.querySelectorAll("select:not([multiple]):not([name=range])")) {
        select.addEventListener("change", () => form.requestSubmit());
      }
    }
    // Fields that say nothing stay out of the address.
    form.addEventListener("submit", () => {
      for (const field of form.querySelectorAll("input, textarea")) if (field.value === "") field.disabled = true;
      const told = exact.some((field) => field.value !== "");
      if (told) form.querySelector("[name=range]").disabled = true;
    });
    // Who comes back finds the form as it was served, not as it was sent.
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  }
});

// Colours beyond the named ones: the page allows no inline style, so they are set here.
vagus.enhance((root) => {
  for (const span of root.querySelectorAll(".entries [data-fg], .entries [data-bg]")) {
    if (span.dataset.fg) span.style.color = span.dataset.fg;
    if (span.dataset.bg) span.style.backgroundColor = span.dataset.bg;
  }
});

// The live tail: the server answers as soon as lines come in.
vagus.enhance((root) => {
  for (const card of root.querySelectorAll("[data-tail]")) {
    const button = card.querySelector("[data-live-tail]");
    const list = card.querySelector(".entries");
    const limit = 2000;
    let next = "";
    let running = false;
    const pull = async () => {
      let wait = 100;
      try {
        const url = new URL(card.dataset.tail, location.href);
        if (next) url.searchParams.set("after", next);
        const answer = await fetch(url);
        if (!answer.ok) throw new Error(answer.statusText);
        const part = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-next]");
        if (!running || !list.isConnected) return;
        next = part.dataset.next;
        for (const entry of part.children) entry.classList.add("fresh");
        list.prepend(...part.children);
        while (list.childElementCount > limit) list.lastElementChild.remove();
        for (const init of vagus.onSwap) init(list);
      } catch {
        wait = 3000;
      }
      if (running && list.isConnected) setTimeout(pull, wait);
    };
    if (!button) continue;
    button.hidden = false;
    button.addEventListener("click", () => {
      running = !running;
      button.setAttribute("aria-pressed", String(running));
      button.textContent = running ? "Live: on" : "Live";
      if (running) pull();
      else next = "";
    });
  }
});

// Panels: asked anew in turn, without the page; those of a closed row when it opens.
vagus.panels = (() => {
  const load = async (panel) => {
    if (panel.matches(":focus-within") || panel.dataset.busy) return;
    panel.dataset.busy = "1";
    try {
      const answer = await fetch(panel.dataset.panel);
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body.firstElementChild;
      const off = [...panel.querySelectorAll(".keys button[aria-pressed=false] .name")].map((name) => name.textContent);
      panel.replaceChildren(...fresh.childNodes);
      panel.classList.remove("stale");
      panel.removeAttribute("data-waiting");
      for (const init of vagus.onSwap) init(panel);
      for (const key of panel.querySelectorAll(".keys button")) {
        if (off.includes(key.querySelector(".name").textContent)) key.click();
      }
    } catch {
      panel.classList.add("stale");
    }
    delete panel.dataset.busy;
  };
  return { load };
})();
for (const row of document.querySelectorAll("details.panel-row")) {
  row.addEventListener("toggle", () => {
    if (row.open) for (const panel of row.querySelectorAll("[data-waiting]")) vagus.panels.load(panel);
  });
}
for (const board of document.querySelectorAll("[data-panels]")) {
  const every = Number(board.dataset.refresh || 0);
  if (every <= 0) continue;
  setInterval(async () => {
    if (document.hidden) return;
    for (const panel of board.querySelectorAll("[data-panel]:not([data-waiting])")) {
      if (panel.checkVisibility()) await vagus.panels.load(panel);
    }
  }, every * 1000);
}

// A file is read into a field, so that the form needs no upload.
for (const input of document.querySelectorAll("[data-file-into]")) {
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (file) document.getElementById(input.dataset.fileInto).value = await file.text();
  });
}
