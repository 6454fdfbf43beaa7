"use strict";
// Asks for the page again and again, and changes what is different. Where it does not run, the page
// loads itself anew, and its forms and links work as they are.

const pollMs = 1000 * Number(document.body.dataset.poll);
const mostMs = 30000;
let tag = "";
let failures = 0;
let timer = 0;
let since = new Date();

const keyOf = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || "" : "");
const isSame = (one, other) =>
  one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

// Make one element what another is: nodes stay, so that focus, selection and places stay.
function become(one, other) {
  if (one.isEqualNode(other)) return;
  if (one.nodeType !== 1) {
    one.nodeValue = other.nodeValue;
    return;
  }
  for (const { name, value } of other.attributes)
    if (one.getAttribute(name) !== value && !isUsers(one, name)) one.setAttribute(name, value);
  for (const { name } of [...one.attributes])
    if (!other.hasAttribute(name) && !isUsers(one, name)) one.removeAttribute(name);
  const wanted = [...other.childNodes];
  let next = one.firstChild;
  for (const node of wanted) {
    let found = next;
    // Only what has a name is looked for further on: a blank must not cost what stands before it.
    while (found && keyOf(node) && !isSame(found, node)) found = found.nextSibling;
    if (!found || !isSame(found, node)) {
      one.insertBefore(document.importNode(node, true), next);
      continue;
    }
    while (next !== found) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
    next = found.nextSibling;
    become(found, node);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

// A reader opens and closes details, and waits for an answer.
const isUsers = (node, name) => (node.nodeName === "DETAILS" && name === "open") || name === "aria-busy";

function show(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const held = document.activeElement;
  const around = [held.closest("[data-key]"), held.closest("section")];
  document.title = page.title;
  for (const name of ["#head", "main"]) {
    const next = page.querySelector(name);
    if (!next) return location.reload();
    become(document.querySelector(name), next);
  }
  light();
  if (held.isConnected) return;
  // What had the focus is gone: its neighbour has it, not the top of the page.
  const next = around.find((one) => one && one.isConnected);
  const near = next ? next.querySelector("a, summary, button") : null;
  if (near) near.focus({ preventScroll: true });
}

async function refresh() {
  clearTimeout(timer);
  try {
    const answer = await fetch(location.pathname + location.search, {
      headers: tag ? { "If-None-Match": tag } : {},
      cache: "no-store",
    });
    if (answer.status !== 304) {
      if (!answer.ok) throw new Error(String(answer.status));
      tag = answer.headers.get("ETag") || "";
      show(await answer.text());
    }
    failures = 0;
    since = new Date();
  } catch {
    failures += 1;
  }
  document.getElementById("offline-since").textContent = since.toLocaleTimeString();
  document.getElementById("offline").hidden = failures < 2;
  const waitMs = Math.min(mostMs, pollMs * 2 ** Math.min(failures, 4));
  if (!document.hidden) timer = setTimeout(refresh, Math.max(waitMs, pollMs));
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});

// What is asked for here is asked without leaving the page.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-quick]")) return;
  event.preventDefault();
  if (form.ariaBusy === "true") return;
  form.ariaBusy = "true";
  try {
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (!answer.ok) throw new Error(String(answer.status));
    tag = "";
    const open = form.closest("details");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
    show(await answer.text());
  } catch {
    failures = 2;
    document.getElementById("offline").hidden = false;
  }
  form.ariaBusy = "false";
});

// A trial that is pointed at, or has the focus, stands out wherever it is shown.
let lit = "";
function light() {
  for (const node of document.querySelectorAll("[data-trial]"))
    node.classList.toggle("lit", lit !== "" && node.dataset.trial === lit);
  document.documentElement.classList.toggle("has-lit", lit !== "");
}
for (const kind of ["mouseover", "focusin"])
  document.addEventListener(kind, (event) => {
    const found = event.target.closest ? event.target.closest("[data-trial]") : null;
    lit = found ? found.dataset.trial : "";
    light();
  });

timer = setTimeout(refresh, pollMs);
