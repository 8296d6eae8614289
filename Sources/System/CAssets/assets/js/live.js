// Live pages: the event feed rings, the page asks the server again and swaps the parts that changed.
vagus.live = () => {
  const body = document.body;
  if (!body.dataset.feed || !document.querySelector("[data-live]")) return;
  const lamps = document.querySelectorAll(".live");
  const tell = (state, text) => {
    for (const lamp of lamps) {
      lamp.dataset.state = state;
      lamp.textContent = text;
    }
  };
  let pending = null;
  let busy = false;
  let again = false;

  const swap = (fresh) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      // A person at work in this part (typing, an open panel) is not disturbed.
      if (!next || next.innerHTML === part.dataset.seen) continue;
      if (part.querySelector("details.act[open]") || part.contains(document.activeElement?.closest("form"))) continue;
      const focus = document.activeElement && part.contains(document.activeElement) ? document.activeElement.id : "";
      const open = [...part.querySelectorAll("details[open][id]")].map((d) => d.id);
      const seen = next.innerHTML;
      part.innerHTML = seen;
      part.dataset.seen = seen;
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      if (focus) document.getElementById(focus)?.focus();
      for (const init of vagus.onSwap) init(part);
    }
    vagus.tick();
  };

  const refresh = async () => {
    pending = null;
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const url = new URL(location.href);
      url.searchParams.set("fragment", "main");
      const answer = await fetch(url, { headers: { Accept: "text/html" } });
      if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      tell("off", "Reconnecting");
    }
    busy = false;
    if (again) {
      again = false;
      ring();
    }
  };
  const ring = () => {
    if (!pending) pending = setTimeout(refresh, 350);
  };

  for (const part of document.querySelectorAll("[data-live]")) part.dataset.seen = part.innerHTML;
  const feed = new EventSource(body.dataset.feed);
  feed.onopen = () => tell("on", "Live");
  feed.onerror = () => tell("off", "Reconnecting");
  feed.onmessage = ring;
  for (const name of (body.dataset.feedNames || "").split(" ").filter(Boolean)) feed.addEventListener(name, ring);
  // Numbers that move without an event (counters, percentages) are asked for on pages that say so.
  const every = Number(document.querySelector("[data-every]")?.dataset.every || 0);
  if (every > 0) setInterval(() => { if (!document.hidden) ring(); }, every * 1000);
  addEventListener("pagehide", () => feed.close());
};
vagus.live();
