// Keeps the page as it is now, without reloading it: what you type, select, focus and where you
// have scrolled stays. Without this script everything works too; then reload.
"use strict";

const EVERY_MS = 2000;
const PATIENCE_MS = 8000;

const main = document.getElementById("main");
const live = document.getElementById("live");

function say(state, words) {
  if (live.dataset.state !== state) live.dataset.state = state;
  if (live.textContent !== words) live.textContent = words;
}

// Makes `old` like `fresh`, in place: what has not changed is not touched.
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

// Not `element.id`: in a form that is its field of that name.
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

function take(page) {
  const fresh = new DOMParser().parseFromString(page, "text/html");
  const its = fresh.getElementById("main");
  document.title = fresh.title;
  morphChildren(main, its);
  main.removeAttribute("data-stale");
  offerAll();
  const at = fresh.getElementById("live");
  live.dataset.asOf = at.dataset.asOf;
  say("live", at.textContent);
}

function lost(why) {
  main.setAttribute("data-stale", "");
  const shown = live.dataset.asOf.slice(11, 19);
  say("lost", `${why} – as of ${shown} UTC`);
}

async function refresh() {
  const asked = location.href;
  try {
    const answer = await fetch(asked, {
      headers: { "Accept": "text/html", "X-Refresh": "1" },
      signal: AbortSignal.timeout(PATIENCE_MS),
      redirect: "error",
    });
    const page = await answer.text();
    if (answer.ok || answer.status === 404) take(page);
    else if (answer.status === 401) lost("The session is over: log in again");
    else if (answer.status === 503) lost("The database cannot be asked");
    else lost(`Not refreshed (${answer.status})`);
  } catch {
    lost("MIRT does not answer");
  }
}

async function keepLive() {
  for (;;) {
    await new Promise((done) => setTimeout(done, EVERY_MS));
    if (document.hidden) {
      say("paused", "paused");
      await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    }
    await refresh();
  }
}

// A box above the boxes, which marks all that are on this page.
function offerAll() {
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

offerAll();
if (main !== null && main.hasAttribute("data-live") && live !== null) {
  say("live", live.textContent);
  keepLive();
}
