// Experiments: the search answers while it is typed, and a changed choice shows at once.
vagus.enhance((root) => {
  for (const form of root.querySelectorAll("form[data-auto]")) {
    form.addEventListener("change", () => form.requestSubmit());
  }
});

for (const form of document.querySelectorAll("form[data-run-search]")) {
  let waiting = null;
  let asked = 0;
  const address = () => {
    const url = new URL(form.action);
    for (const [name, value] of new FormData(form)) if (value !== "") url.searchParams.append(name, value);
    return url;
  };
  const search = async () => {
    const mine = ++asked;
    const url = address();
    const shown = new URL(url);
    url.searchParams.set("fragment", "main");
    try {
      const answer = await fetch(url, { headers: { Accept: "text/html" } });
      // Whoever typed on has asked anew meanwhile.
      if (!answer.ok || mine !== asked) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const [old, fresh] = [document.getElementById("r-result"), page.getElementById("r-result")];
      if (!old || !fresh) return;
      old.innerHTML = fresh.innerHTML;
      old.dataset.seen = fresh.innerHTML;
      history.replaceState(null, "", shown);
      for (const init of vagus.onSwap) init(old);
    } catch {
      // The button still searches, with a page of its own.
    }
  };
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, 250);
  });
}
