// Logs: stream new lines, follow the end, search.
vagus.enhance((root) => {
  for (const log of root.querySelectorAll("[data-log]")) {
    const body = log.querySelector(".log-body");
    const count = log.querySelector(".hits");
    const input = log.querySelector("[data-search]");
    const follow = log.querySelector("[data-follow]");
    let matches = [];
    let at = -1;
    let following = body.dataset.done !== "true";

    const setFollow = (on) => {
      following = on;
      follow?.setAttribute("aria-pressed", String(on));
      if (on) body.scrollTop = body.scrollHeight;
    };
    const mark = (scroll) => {
      matches.forEach((line, i) => line.classList.toggle("now", i === at));
      count.textContent = input.value ? (matches.length ? `${at + 1} of ${matches.length}` : "No match") : "";
      if (scroll && matches[at]) {
        const line = matches[at];
        body.scrollTop = line.offsetTop - body.offsetTop - body.clientHeight / 3;
      }
    };
    const search = (scroll) => {
      const wanted = input.value.toLowerCase();
      matches = [];
      for (const line of body.querySelectorAll(".log-line")) {
        const hit = wanted !== "" && line.lastElementChild.textContent.toLowerCase().includes(wanted);
        line.classList.toggle("hit", hit);
        if (!hit) line.classList.remove("now");
        if (hit) matches.push(line);
      }
      if (wanted) for (const line of body.querySelectorAll(".folded")) line.classList.remove("folded");
      if (scroll) at = matches.length ? 0 : -1;
      mark(scroll);
      if (wanted && scroll) setFollow(false);
    };
    const go = (step) => {
      if (!matches.length) return;
      at = (at + step + matches.length) % matches.length;
      mark(true);
    };
    input?.addEventListener("input", () => search(true));
    input?.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        go(event.shiftKey ? -1 : 1);
      }
    });
    log.querySelector("[data-next-hit]")?.addEventListener("click", () => go(1));
    log.querySelector("[data-previous-hit]")?.addEventListener("click", () => go(-1));
    follow?.addEventListener("click", () => setFollow(!following));
    body.addEventListener("wheel", (event) => { if (event.deltaY < 0) setFollow(false); }, { passive: true });

    // Colours beyond the named ones: the page allows no inline style, so they are set here.
    const paint = (lines) => {
      for (const line of lines) {
        for (const span of line.querySelectorAll("[data-fg], [data-bg]")) {
          if (span.dataset.fg) span.style.color = span.dataset.fg;
          if (span.dataset.bg) span.style.backgroundColor = span.dataset.bg;
        }
      }
    };
    paint(body.children);
    // A group folds the lines that follow it, those that come later too.
    const fold = (button) => {
      const isFolded = button.getAttribute("aria-expanded") === "false";
      let line = button.closest(".log-line").nextElementSibling;
      for (; line?.classList.contains("in"); line = line.nextElementSibling) line.classList.toggle("folded", isFolded);
    };
    body.addEventListener("click", (event) => {
      const button = event.target.closest("[data-fold]");
      if (!button) return;
      button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") === "false"));
      fold(button);
    });

    // The browser keeps at most this many lines; older ones are on the server.
    const limit = 20000;
    let wait = 50;
    const pull = async () => {
      if (!log.isConnected) return;
      try {
        const url = new URL(body.dataset.more, location.href);
        url.searchParams.set("after", body.dataset.next);
        url.searchParams.set("line", body.dataset.line);
        url.searchParams.set("group", body.dataset.group);
        // The server answers as soon as there is more.
        url.searchParams.set("wait", "1");
        const answer = await fetch(url);
        if (answer.ok) {
          const part = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-next]");
          const added = part.childElementCount;
          paint(part.children);
          body.append(...part.children);
          const last = body.querySelectorAll("[data-fold]");
          if (last.length) fold(last[last.length - 1]);
          while (body.childElementCount > limit) body.firstElementChild.remove();
          Object.assign(body.dataset, {
            next: part.dataset.next, line: part.dataset.line, group: part.dataset.group, done: part.dataset.done,
          });
          wait = added ? 50 : Math.min(2000, wait * 1.4);
          if (added && input.value) search(false);
          if (added && following) body.scrollTop = body.scrollHeight;
        }
      } catch {
        wait = 3000;
      }
      if (body.dataset.done !== "true") setTimeout(pull, wait);
      else setFollow(false);
    };
    if (body.dataset.done !== "true") {
      setFollow(true);
      setTimeout(pull, wait);
    }
  }
});
