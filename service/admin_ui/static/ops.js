// Refreshes the page in place, without a reload: input, selection, focus and scroll position stay.
// The page works without this script, too; then the operator reloads it.
"use strict";

const EVERY_MS = 2000;
const TIMEOUT_MS = 8000;

// English and Ukrainian, as the page itself.
const isUkrainian = document.documentElement.lang === "uk";
const say = (english, ukrainian) => (isUkrainian ? ukrainian : english);

const main = document.getElementById("main");
const clock = document.getElementById("clock");
const live = document.getElementById("live");
const pause = document.getElementById("pause");

// The clock changes with every refresh and is no live region. A screen reader announces a change of
// state only.
function showState(state, text) {
  clock.dataset.state = state;
  if (live.dataset.state === state && live.textContent === text) return;
  live.dataset.state = state;
  live.textContent = text;
}

// The server writes times in this zone. The first page of a browser is in UTC.
function tellZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const cookie = `mirt_zone=${zone}`;
  if (!zone || document.cookie.split("; ").includes(cookie)) return false;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${cookie}; Path=/ops; SameSite=Strict; Max-Age=31536000${secure}`;
  return true;
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
  document.title = fresh.title;
  morphChildren(main, fresh.getElementById("main"));
  main.removeAttribute("data-stale");
  addSelectAll();
  morph(clock, fresh.getElementById("clock"));
  showState("live", live.textContent === "" ? "" : say("This page is refreshed again", "Сторінка знову оновлюється"));
}

function lost(why) {
  main.setAttribute("data-stale", "");
  showState("lost", `${why} – ${say("as of", "станом на")} ${clock.textContent}`);
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
    if (isPaused()) return;
    if (answer.ok || answer.status === 404) update(page);
    else if (answer.status === 401) lost(say("Your session has ended: log in again", "Сеанс закінчився: увійдіть знову"));
    else if (answer.status === 503) lost(say("The database cannot be reached", "База даних недоступна"));
    else lost(`${say("Not refreshed", "Не оновлено")} (${answer.status})`);
  } catch {
    if (!isPaused()) lost(say("MIRT does not answer", "MIRT не відповідає"));
  }
}

// Kept for the session of this tab, also from page to page.
function isPaused() {
  return sessionStorage.getItem("paused") !== null;
}

function showPause() {
  pause.textContent = isPaused() ? say("Resume", "Далі") : say("Pause", "Пауза");
  const resume = say("Resume refreshing", "Продовжити оновлення");
  pause.setAttribute("aria-label", isPaused() ? resume : say("Pause refreshing", "Зупинити оновлення"));
  if (isPaused()) showState("paused", say("Paused", "Пауза"));
}

function togglePause() {
  if (isPaused()) sessionStorage.removeItem("paused");
  else sessionStorage.setItem("paused", "1");
  showPause();
}

function once(target, name) {
  return new Promise((done) => target.addEventListener(name, done, { once: true }));
}

async function keepLive(isSoon) {
  pause.hidden = false;
  pause.addEventListener("click", togglePause);
  if (!isPaused()) showState("live", "");
  showPause();
  for (let first = isSoon; ; first = false) {
    if (!first) await new Promise((done) => setTimeout(done, EVERY_MS));
    while (isPaused() || document.hidden) {
      clock.dataset.state = "paused";
      await (isPaused() ? once(pause, "click") : once(document, "visibilitychange"));
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

// Ctrl or Command with Enter sends a reply.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  if (event.target.matches("form.say textarea")) {
    event.preventDefault();
    event.target.form.requestSubmit(event.target.form.querySelector("button"));
  }
});

addSelectAll();
const isNewZone = tellZone();
if (main !== null && main.hasAttribute("data-live") && clock !== null && pause !== null) {
  keepLive(isNewZone);
}
