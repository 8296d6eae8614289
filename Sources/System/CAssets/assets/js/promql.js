// Fields for queries: they grow with their text, mark what is wrong, and complete names.
vagus.words = (() => {
  const kept = new Map();
  const list = async (path, query) => {
    const url = new URL(path, location.href);
    for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
    const key = url.href;
    if (!kept.has(key)) {
      if (kept.size > 200) kept.clear();
      const asked = fetch(url, { headers: { Accept: "application/json" } }).then((answer) => (answer.ok ? answer.json() : { items: [] }));
      kept.set(key, asked.then((answer) => answer.items ?? []).catch(() => []));
    }
    return kept.get(key);
  };
  return { list };
})();

/** What can stand at the end of `before`, the text before the caret. */
vagus.completionAt = (before, kind) => {
  const open = before.lastIndexOf("{");
  const inBraces = open > before.lastIndexOf("}");
  const inner = inBraces ? before.slice(open + 1) : "";
  const quotes = (inner.match(/(?<!\\)"/g) || []).length;
  const metric = inBraces ? (before.slice(0, open).match(/[a-zA-Z_:][\w:]*$/) || [""])[0] : "";
  if (inBraces && quotes % 2 === 1) {
    const found = inner.match(/([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"([^"]*)$/);
    return found ? { sort: "value", label: found[1], word: found[2], metric } : null;
  }
  if (inBraces) {
    const word = (inner.match(/[a-zA-Z_]\w*$/) || [""])[0];
    const rest = inner.slice(0, inner.length - word.length).trimEnd();
    return rest === "" || rest.endsWith(",") ? { sort: "label", word, metric } : null;
  }
  const group = before.match(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)$/);
  if (group) return { sort: "label", word: (group[1].match(/[a-zA-Z_]\w*$/) || [""])[0], metric: "", bare: true };
  if (kind === "logql" || ((before.match(/"/g) || []).length % 2 === 1)) return null;
  const word = (before.match(/[a-zA-Z_:][\w:]*$/) || [""])[0];
  return word.length > 0 && !/[\d.\]]$/.test(before.slice(0, before.length - word.length)) ? { sort: "name", word } : null;
};

vagus.completions = async (at, kind) => {
  const base = kind === "logql" ? "/api/v1/logs" : "/api/v1/metrics";
  const match = at.metric ? `{__name__="${at.metric}"}` : "";
  const fits = (text) => text.toLowerCase().includes(at.word.toLowerCase());
  if (at.sort === "value") {
    const values = await vagus.words.list(`${base}/labels/${encodeURIComponent(at.label)}/values`, { search: at.word, match, limit: 50 });
    return values.map((one) => ({ text: one.value, insert: one.value.replace(/\\/g, "\\\\").replace(/"/g, '\\"'), note: at.label }));
  }
  if (at.sort === "label") {
    const labels = await vagus.words.list(`${base}/labels`, { match });
    return labels.map((one) => one.value).filter((one) => fits(one) && one !== "__name__")
      .map((one) => ({ text: one, insert: at.bare ? one : `${one}="`, note: "label" }));
  }
  const [functions, names] = await Promise.all([
    vagus.words.list("/api/v1/metrics/functions", {}),
    vagus.words.list("/api/v1/metrics/names", { search: at.word, limit: 50 }),
  ]);
  const known = functions.filter((one) => one.name.startsWith(at.word.toLowerCase()))
    .map((one) => ({ text: one.name, insert: `${one.name}(`, note: one.signature, help: one.summary }));
  return [...known, ...names.map((one) => ({ text: one.name, insert: one.name, note: one.type, help: one.help }))];
};

/** The function that the caret stands in the brackets of. */
vagus.functionAt = (before) => {
  let depth = 0;
  for (let i = before.length - 1; i >= 0; i--) {
    if (before[i] === ")") depth++;
    if (before[i] === "(" && depth-- === 0) return (before.slice(0, i).match(/([a-zA-Z_]\w*)\s*(?:(?:by|without)\s*\([^()]*\)\s*)?$/) || [])[1];
  }
  return undefined;
};

vagus.editor = (field) => {
  const kind = field.matches("[data-logql]") ? "logql" : "promql";
  const behind = field.parentElement.querySelector("pre");
  const fault = document.getElementById(`${field.id}-fault`);
  const list = document.createElement("ul");
  list.className = "completions";
  list.id = `${field.id}-list`;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Completions");
  list.hidden = true;
  const help = document.createElement("p");
  help.className = "signature";
  help.setAttribute("role", "status");
  help.hidden = true;
  field.parentElement.append(list);
  field.parentElement.after(help);
  for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-expanded", "false"], ["aria-controls", list.id]]) {
    field.setAttribute(name, value);
  }
  let found = [];
  let chosen = -1;
  let place = null;
  let turn = 0;

  const close = () => {
    list.hidden = true;
    chosen = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  const choose = (index) => {
    chosen = (index + found.length) % found.length;
    [...list.children].forEach((row, i) => row.setAttribute("aria-selected", String(i === chosen)));
    list.children[chosen].scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", list.children[chosen].id);
  };
  const take = (index) => {
    const end = field.selectionStart;
    field.setRangeText(found[index].insert, end - place.word.length, end, "end");
    close();
    field.focus();
    field.dispatchEvent(new Event("input"));
  };
  const show = () => {
    list.replaceChildren(...found.map((one, i) => {
      const row = document.createElement("li");
      row.id = `${list.id}-${i}`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", "false");
      for (const [tag, text] of [["code", one.text], ["span", one.note], ["small", one.help]]) {
        if (!text) continue;
        const part = document.createElement(tag);
        part.textContent = text;
        row.append(part);
      }
      row.addEventListener("pointerdown", (event) => { event.preventDefault(); take(i); });
      return row;
    }));
    list.hidden = false;
    field.setAttribute("aria-expanded", "true");
    if (found.length) choose(0);
  };
  const complete = async (mine) => {
    place = vagus.completionAt(field.value.slice(0, field.selectionStart), kind);
    if (!place) return close();
    const all = await vagus.completions(place, kind);
    if (mine !== turn) return;
    found = all.filter((one) => one.text !== place.word).slice(0, 40);
    if (found.length && document.activeElement === field) show();
    else close();
  };
  const explain = async () => {
    if (kind !== "promql") return;
    const name = vagus.functionAt(field.value.slice(0, field.selectionStart));
    const one = name && (await vagus.words.list("/api/v1/metrics/functions", {})).find((each) => each.name === name);
    help.hidden = !one;
    if (one) help.textContent = `${one.signature} – ${one.summary}`;
  };
  const check = async (mine) => {
    // Who chooses from the list is in the middle of a word: every query is wrong then.
    if (kind !== "promql" || !field.value.trim() || !list.hidden) return;
    const url = new URL("/api/v1/metrics/parse", location.href);
    url.searchParams.set("query", field.value);
    const answer = await fetch(url).then((got) => (got.ok ? got.json() : null)).catch(() => null);
    if (!answer || mine !== turn) return;
    fault.hidden = answer.ok;
    fault.textContent = answer.message ?? "";
    field.toggleAttribute("aria-invalid", !answer.ok);
    if (answer.ok || answer.start === undefined) return;
    // Places are told in bytes.
    const bytes = new TextEncoder().encode(field.value);
    const text = (from, to) => new TextDecoder().decode(bytes.slice(from, to));
    const wrong = document.createElement("mark");
    wrong.className = "wrong";
    wrong.textContent = text(answer.start, answer.end) || " ";
    behind.replaceChildren(text(0, answer.start), wrong, `${text(answer.end)}\n`);
  };
  field.addEventListener("input", () => {
    behind.textContent = `${field.value}\n`;
    if (fault) fault.hidden = true;
    const mine = ++turn;
    setTimeout(() => { if (mine === turn) { complete(mine); explain(); } }, 120);
    setTimeout(() => { if (mine === turn) check(mine); }, 600);
  });
  field.addEventListener("click", explain);
  field.addEventListener("blur", () => setTimeout(close, 150));
  field.addEventListener("keydown", (event) => {
    const isOpen = !list.hidden && found.length > 0;
    if (isOpen && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
    } else if (isOpen && (event.key === "Tab" || event.key === "Enter") && chosen >= 0) {
      event.preventDefault();
      take(chosen);
    } else if (event.key === "Escape" && isOpen) {
      event.stopPropagation();
      close();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      field.form.requestSubmit();
    } else if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      complete(++turn);
    }
  });
};
for (const field of document.querySelectorAll("[data-promql], [data-logql]")) vagus.editor(field);
