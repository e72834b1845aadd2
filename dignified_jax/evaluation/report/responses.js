// All text goes in as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const list = document.getElementById("list"), form = document.querySelector("form"), PAGE = 20;
let shown = PAGE;
const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
for (const [field, values] of [["model", data.models], ["item", data.items]]) {
  for (const value of values) {
    const option = make("option", "", value);
    option.value = value;
    form.querySelector(`[name=${field}]`).append(option);
  }
}
const wanted = (entry) => {
  const { model, item, verdict, text } = Object.fromEntries(new FormData(form));
  if (model && entry.model !== model) return false;
  const words = text.toLowerCase();
  if (words && ![entry.question, entry.prompt, entry.text].some((t) => t.toLowerCase().includes(words))) return false;
  if (!verdict) return true;
  const scores = Object.values(entry.judgments).flatMap((by) => (item ? [by[item]] : Object.values(by)));
  if (verdict === "split") return new Set(scores.filter((s) => s === 0 || s === 1)).size > 1;
  return scores.includes(Number(verdict));
};
const draw = () => {
  const found = data.responses.filter(wanted);
  list.replaceChildren();
  document.getElementById("count").textContent = `${found.length} of ${data.responses.length} responses`;
  for (const entry of found.slice(0, shown)) {
    const article = make("article");
    article.append(make("h2", "", `${entry.model} \u00b7 ${entry.question}`));
    article.append(make("p", "text prompt", entry.prompt), make("p", "text", entry.text || "(an empty response)"));
    const wide = Object.assign(make("div", "wide"), { tabIndex: 0, role: "region", ariaLabel: "judgments" });
    const table = make("table"), head = make("tr");
    head.append(make("th", "", "judge"), ...data.items.map((item) => make("th", "", item)));
    table.append(head);
    for (const [judge, scores] of Object.entries(entry.judgments)) {
      const row = make("tr");
      row.append(make("td", "", judge));
      for (const item of data.items) {
        const score = scores[item];
        row.append(make("td", score === 1 ? "yes" : score === 0 ? "no" : "", score === 1 ? "1" : score === 0 ? "0" : "\u2013"));
      }
      table.append(row);
    }
    wide.append(table);
    article.append(wide);
    list.append(article);
  }
  document.getElementById("more").hidden = found.length <= shown;
};
form.addEventListener("input", () => { shown = PAGE; draw(); });
form.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("more").addEventListener("click", () => { shown += PAGE; draw(); });
draw();
