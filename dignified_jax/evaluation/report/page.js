// Figures take ink and grid from the page, light or dark; printed, they are dark on white.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return [style.getPropertyValue("--ink").trim(), style.getPropertyValue("--line").trim()];
};
const paint = (ink, line) => {
  for (const figure of document.querySelectorAll(".js-plotly-plot")) {
    const change = { "font.color": ink };
    for (const key of Object.keys(figure._fullLayout || {})) {
      if (/^[xy]axis\d*$/.test(key)) {
        Object.assign(change, { [key + ".gridcolor"]: line, [key + ".zerolinecolor"]: line, [key + ".linecolor"]: line, [key + ".color"]: ink });
      }
      if (/^polar\d*$/.test(key)) {
        Object.assign(change, { [key + ".bgcolor"]: "rgba(0,0,0,0)", [key + ".radialaxis.gridcolor"]: line, [key + ".radialaxis.color"]: ink, [key + ".angularaxis.gridcolor"]: line, [key + ".angularaxis.color"]: ink });
      }
    }
    Plotly.relayout(figure, change);
    const bars = figure.data.flatMap((trace, at) => (trace.type === "bar" ? [at] : []));
    if (bars.length) Plotly.restyle(figure, { "error_y.color": ink }, bars);
  }
};
for (const figure of document.querySelectorAll(".figure")) {
  const given = JSON.parse(figure.nextElementSibling.textContent);
  Plotly.newPlot(figure, given.data, given.layout, { responsive: true, displaylogo: false, displayModeBar: false });
}
paint(...colours());
dark.addEventListener("change", () => paint(...colours()));
window.addEventListener("beforeprint", () => paint("#000", "#bbb"));
window.addEventListener("afterprint", () => paint(...colours()));
