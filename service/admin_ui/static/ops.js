// Refreshes the page in place, without a reload: input, selection, focus and scroll position stay.
// The page works without this script, too; then the operator reloads it.
"use strict";

const EVERY_MS = 2000;
const TIMEOUT_MS = 8000;

const main = document.getElementById("main");
const live = document.getElementById("live");

function showState(state, text) {
  if (live.dataset.state !== state) live.dataset.state = state;
  if (live.textContent !== text) live.textContent = text;
}

// Makes `old` equal to `fresh` in place; leaves unchanged nodes alone.
function morph(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.matches("input, select, textarea, [data-keep]")) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  }
  morphChildren(old, fresh);
}

// Not `element.id`: in a form that would be the field named "id".
function idOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("id") : null;
}

function isAlike(old, fresh) {
  return old.nodeName === fresh.nodeName && idOf(old) === null && idOf(fresh) === null;
}

function morphChildren(old, fresh) {
  const named = new Map();
  for (const child of old.children) if (idOf(child)) named.set(idOf(child), child);
  let here = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const known = named.get(idOf(wanted));
    if (known !== undefined && known.nodeName === wanted.nodeName) {
      if (known === here) here = here.nextSibling;
      else old.insertBefore(known, here);
      morph(known, wanted);
    } else if (here !== null && isAlike(here, wanted)) {
      const next = here.nextSibling;
      morph(here, wanted);
      here = next;
    } else {
      old.insertBefore(document.adoptNode(wanted), here);
    }
  }
  while (here !== null) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}

function update(page) {
  const fresh = new DOMParser().parseFromString(page, "text/html");
  const freshMain = fresh.getElementById("main");
  document.title = fresh.title;
  morphChildren(main, freshMain);
  main.removeAttribute("data-stale");
  addSelectAll();
  const at = fresh.getElementById("live");
  live.dataset.asOf = at.dataset.asOf;
  showState("live", at.textContent);
}

function lost(why) {
  main.setAttribute("data-stale", "");
  const shown = live.dataset.asOf.slice(11, 19);
  showState("lost", `${why} – as of ${shown} UTC`);
}

async function refresh() {
  const address = location.href;
  try {
    const answer = await fetch(address, {
      headers: { "Accept": "text/html", "X-Refresh": "1" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      redirect: "error",
    });
    const page = await answer.text();
    if (answer.ok || answer.status === 404) update(page);
    else if (answer.status === 401) lost("Your session has ended: log in again");
    else if (answer.status === 503) lost("The database cannot be reached");
    else lost(`Not refreshed (${answer.status})`);
  } catch {
    lost("MIRT does not answer");
  }
}

async function keepLive() {
  for (;;) {
    await new Promise((done) => setTimeout(done, EVERY_MS));
    if (document.hidden) {
      showState("paused", "paused");
      await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    }
    await refresh();
  }
}

// A checkbox in the head of the table selects all rows of this page.
function addSelectAll() {
  const head = document.getElementById("tick-all");
  if (head === null || head.querySelector("input") !== null) return;
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", "Select all on this page");
  all.addEventListener("change", () => {
    for (const box of document.querySelectorAll('#letters tbody input[type="checkbox"]')) {
      box.checked = all.checked;
    }
  });
  head.replaceChildren(all);
}

addSelectAll();
if (main !== null && main.hasAttribute("data-live") && live !== null) {
  showState("live", live.textContent);
  keepLive();
}
