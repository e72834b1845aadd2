// Keyboard shortcuts, focus after a page was exchanged, and troubles with the network.
"use strict";

const stored = "review.shortcuts";

function shortcutsOn() {
  return localStorage.getItem(stored) !== "off";
}

// A page that came without a reload: screen readers and keys go on at its heading, or in its text.
function arrived() {
  const box = document.getElementById("shortcuts");
  if (box) box.checked = shortcutsOn();
  document.body.classList.toggle("no-shortcuts", !shortcutsOn());
  reachLongTexts();
}

// Not every browser lets keys scroll what has no focus.
function reachLongTexts() {
  document.querySelectorAll(".text").forEach((each) => {
    if (each.scrollHeight > each.clientHeight) each.tabIndex = 0;
    else each.removeAttribute("tabindex");
  });
}

function focusStart() {
  const start = document.querySelector("textarea[data-save]") || document.querySelector("main h1");
  if (start) start.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function trouble(text) {
  const place = document.getElementById("trouble");
  place.textContent = text;
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
}

function press(target) {
  if (target.matches("textarea")) target.focus();
  else target.click();
}

document.addEventListener("keydown", (event) => {
  const field = event.target.closest("textarea, select, input:not([type=radio], [type=checkbox])");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && field && field.form) {
    if (field.matches("[data-save]")) field.form.requestSubmit();
    return;
  }
  if (event.key === "Escape" && field) field.blur();
  if (field || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (!shortcutsOn() || event.isComposing) return;
  const target = [...document.querySelectorAll("[data-key]")].find(
    (each) => each.dataset.key === event.key.toLowerCase(),
  );
  if (!target) return;
  event.preventDefault();
  press(target);
});

document.addEventListener("change", (event) => {
  if (event.target.id !== "shortcuts") return;
  localStorage.setItem(stored, event.target.checked ? "on" : "off");
  arrived();
});

// A second press while the first is on its way would send the form twice.
document.addEventListener("htmx:beforeRequest", (event) => {
  const form = event.target.closest("form");
  if (form) form.querySelectorAll("button").forEach((each) => (each.disabled = true));
});
document.addEventListener("htmx:afterRequest", (event) => {
  const form = event.target.closest("form");
  if (form) form.querySelectorAll("button").forEach((each) => (each.disabled = false));
});

document.addEventListener("htmx:afterSettle", () => {
  arrived();
  focusStart();
});
document.addEventListener("htmx:historyRestore", arrived);
document.addEventListener("htmx:sendError", () => {
  trouble("The server can't be reached. What you wrote is still here: send it again in a moment.");
});
document.addEventListener("htmx:responseError", (event) => {
  const answer = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
  const reason = answer.querySelector(".problem");
  trouble(reason ? reason.textContent : "The server could not do that. Nothing was saved.");
});
window.addEventListener("resize", reachLongTexts);
document.addEventListener("DOMContentLoaded", () => {
  arrived();
  const start = document.querySelector("textarea[data-save]");
  if (start) start.focus({ preventScroll: true });
});
