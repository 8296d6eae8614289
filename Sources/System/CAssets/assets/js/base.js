// Vagus in the browser: small helpers on pages that already work without them. No dependencies.
"use strict";
const vagus = { onSwap: [] };

/** Runs `init` for a part of the page now and each time that part is replaced. */
vagus.enhance = (init) => {
  vagus.onSwap.push(init);
  init(document);
};

/** Text of a duration in seconds, like the server writes it: "12s", "3m 04s", "1h 07m", "2d 3h". */
vagus.duration = (seconds) => {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${two(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
};

/** "4 min ago" for a moment in the past, "in 4 min" for one to come. */
vagus.ago = (seconds) => {
  const s = Math.abs(seconds);
  if (s < 10) return "just now";
  let text = `${Math.floor(s / 86400)} d`;
  if (s < 60) text = `${Math.floor(s)}s`;
  else if (s < 3600) text = `${Math.floor(s / 60)} min`;
  else if (s < 86400) text = `${Math.floor(s / 3600)} h`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
};

// Clocks: elements with data-since count up, times with data-ago grow old.
vagus.tick = () => {
  const now = Date.now();
  for (const el of document.querySelectorAll("[data-since]")) {
    el.textContent = vagus.duration((now - Date.parse(el.dataset.since)) / 1000);
  }
  for (const el of document.querySelectorAll("time[data-ago]")) {
    el.textContent = vagus.ago((now - Date.parse(el.dateTime)) / 1000);
  }
};
setInterval(vagus.tick, 1000);

// Copy buttons.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  const label = button.getAttribute("aria-label");
  button.setAttribute("aria-label", "Copied");
  button.classList.add("tone", "ok");
  setTimeout(() => {
    button.setAttribute("aria-label", label);
    button.classList.remove("tone", "ok");
  }, 1500);
});

// The tab that is open is in sight, also where a phone shows three of six.
vagus.enhance((part) => {
  for (const tab of part.querySelectorAll(".tabs [aria-current]")) {
    tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.offsetLeft - 24;
  }
});

// Open panels close on Escape and on a click outside.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const open of document.querySelectorAll("details.act[open], details.menu[open]")) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  }
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    const search = document.querySelector("[data-search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
});
document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll("details.act[open], details.menu[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});
