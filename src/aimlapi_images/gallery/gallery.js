"use strict";
// The gallery of one batch. Text of the batch reaches the page through textContent alone.

const byId = (id) => document.getElementById(id);
const { about, cards } = JSON.parse(byId("data").textContent);
byId("data").remove();
for (const card of cards) card.fields = { ...card.parameters, ...card.carried };

const GAP = 14, NARROWEST = 200, TEXT = 75; // CSS pixels
const FILTER_VALUES = 24, FILTERS = 8; // a parameter with more values than that is no filter
const DEFAULT = "(not set)";
const ICONS = {
  done: "✓", failed: "✕", refused: "⊘", lost: "✕", unknown: "?", generated: "↓", pending: "…", sent: "…",
  missing: "∅", changed: "≠",
};
const BAD = new Set(["failed", "refused", "lost", "missing"]);

// ---- What is known about a card

const stateOf = (card) => card.file_state ?? card.status;
const labelOf = (state) => `${ICONS[state]} ${state}`;
const reasonOf = (card) => (card.error ? `${card.status}: ${card.error[0]}` : "");
const nameOf = (card) => (card.number ? `${card.id} (image ${card.number})` : card.id);
const valueOf = (card, name) => asText(card.fields[name] ?? DEFAULT);
const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const usd = (amount, digits = 4) =>
  amount.toLocaleString("en", { style: "currency", currency: "USD", maximumFractionDigits: digits });
const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const sizeOf = (bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

function textOf(card) {
  card.text ??= [card.prompt, card.id, ...(card.error ?? []), ...Object.values(card.carried ?? {}).map(asText)]
    .join("\n").toLowerCase();
  return card.text;
}

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function tally(items, key) {
  const found = new Map();
  for (const value of items.map(key)) found.set(value, (found.get(value) ?? 0) + 1);
  return found;
}

// ---- What is chosen

const chosen = { state: "", reason: "", fields: new Map() };
let shown = []; // the cards that match, in their order

const KEYS = {
  saved: (card) => card.saved, usd: (card) => card.usd, cheap: (card) => -card.usd, seconds: (card) => card.seconds,
};

function choose() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fields = [...chosen.fields].filter(([, value]) => value !== "");
  shown = cards.filter((card) =>
    (!chosen.state || stateOf(card) === chosen.state) &&
    (!chosen.reason || reasonOf(card) === chosen.reason) &&
    fields.every(([name, value]) => valueOf(card, name) === value) &&
    words.every((word) => textOf(card).includes(word)));
  const key = KEYS[byId("sort").value];
  if (key) {
    const rank = (card) => { const value = key(card); return Number.isFinite(value) ? value : -Infinity; };
    shown.sort((a, b) => rank(b) - rank(a) || 0); // -Infinity - -Infinity is NaN
  }
  const narrowed = shown.length < cards.length;
  byId("reset").hidden = !narrowed;
  const spent = shown.reduce((sum, card) => sum + (card.usd ?? 0), 0);
  byId("count").textContent =
    (narrowed ? `${shown.length.toLocaleString("en")} of ` : "") + count(cards.length, "result") +
    `, ${usd(spent)}` + (shown.length ? "" : ". Nothing matches: change the search or the filters.");
  for (const button of document.querySelectorAll("[data-state]"))
    button.setAttribute("aria-pressed", button.dataset.state === chosen.state);
  for (const button of document.querySelectorAll("[data-reason]"))
    button.setAttribute("aria-pressed", button.dataset.reason === chosen.reason);
  drawn.clear();
  grid.replaceChildren();
  layOut();
}

function showControls() {
  const jobs = cards.filter((card) => !card.number);
  const states = tally(cards, stateOf);
  const done = jobs.filter((card) => card.status === "done").length;
  document.title = `${about.name} – gallery`;
  byId("name").textContent = about.name;
  byId("totals").textContent = [
    `${done.toLocaleString("en")} of ${count(jobs.length, "job")} done`,
    `${usd(about.usd)} spent` + (about.unpriced ? ` and ${count(about.unpriced, "attempt")} of unknown cost` : ""),
    sizeOf(cards.reduce((sum, card) => sum + (card.bytes ?? 0), 0)),
    `as of ${new Date(about.written).toLocaleString()}`,
  ].join(" · ");

  for (const state of ["", ...Object.keys(ICONS).filter((each) => states.has(each))]) {
    const number = (state ? states.get(state) : cards.length).toLocaleString("en");
    const label = `${state ? labelOf(state) : "all"} ${number}`;
    const button = make("button", { type: "button", "data-state": state }, label);
    button.onclick = () => { chosen.state = state; choose(); };
    byId("states").append(button);
  }

  let filters = 0;
  for (const name of new Set(cards.flatMap((card) => Object.keys(card.fields)))) {
    const values = tally(cards, (card) => valueOf(card, name));
    const short = [...values.keys()].every((value) => value.length <= 60);
    if (values.size < 2 || values.size > FILTER_VALUES || !short || ++filters > FILTERS) continue;
    const select = make("select", {}, make("option", { value: "" }, "all"));
    for (const [value, number] of [...values].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true })))
      select.append(make("option", { value }, `${value} (${number.toLocaleString("en")})`));
    select.onchange = () => { chosen.fields.set(name, select.value); choose(); };
    byId("filters").append(make("label", {}, make("span", { dir: "auto" }, name), select));
  }

  const failed = cards.filter(reasonOf);
  const reasons = [...tally(failed, reasonOf)].sort(([, a], [, b]) => b - a);
  byId("failures").hidden = !failed.length;
  byId("failures").querySelector("summary").textContent =
    `${count(failed.length, "job")} without an image, for ${count(reasons.length, "reason")}`;
  for (const [reason, number] of reasons) {
    const example = failed.find((card) => reasonOf(card) === reason).error[1].slice(0, 300);
    const button = make("button", { type: "button", "data-reason": reason }, `${number} × ${reason}: ${example}`);
    button.onclick = () => { chosen.reason = chosen.reason === reason ? "" : reason; choose(); };
    byId("reasons").append(make("li", {}, button));
  }

  byId("search").oninput = choose;
  byId("sort").onchange = choose;
  byId("reset").onclick = () => {
    chosen.state = chosen.reason = "";
    chosen.fields.clear();
    for (const select of byId("filters").querySelectorAll("select")) select.value = "";
    byId("search").value = "";
    choose();
    byId("search").focus();
  };
}

// ---- The grid: only cards near the visible part of the page exist

const grid = byId("grid");
const drawn = new Map(); // the list items that exist, by the card's place in `shown`
let columns = 1, rowHeight = 1;

function layOut() {
  const width = grid.clientWidth;
  columns = Math.max(1, Math.floor((width + GAP) / (NARROWEST + GAP)));
  const cardWidth = (width - GAP * (columns - 1)) / columns;
  rowHeight = cardWidth + TEXT + GAP;
  grid.style.setProperty("--width", `${cardWidth}px`);
  grid.style.setProperty("--height", `${cardWidth + TEXT}px`);
  grid.style.height = `${Math.ceil(shown.length / columns) * rowHeight}px`;
  for (const [place, item] of drawn) move(item, place);
  draw();
}

function move(item, place) {
  const x = (place % columns) * (grid.clientWidth + GAP) / columns;
  item.style.transform = `translate(${x}px, ${Math.floor(place / columns) * rowHeight}px)`;
}

function draw() {
  const above = -grid.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(above / rowHeight) - 1) * columns;
  const last = Math.min(shown.length, (Math.floor((above + innerHeight) / rowHeight) + 2) * columns);
  for (const [place, item] of drawn) {
    if (place >= first && place < last || item.contains(document.activeElement)) continue;
    item.remove();
    drawn.delete(place);
  }
  for (let place = first; place < last; place++) if (!drawn.has(place)) drawn.set(place, drawCard(place));
  let next = null; // in the document, too, cards are in their order: the Tab key follows it
  for (const place of [...drawn.keys()].sort((a, b) => b - a)) {
    const item = drawn.get(place);
    if (!item.isConnected || item.nextSibling !== next) grid.insertBefore(item, next);
    next = item;
  }
}

function drawCard(place) {
  const card = shown[place], state = stateOf(card);
  const picture = make("span", { class: "picture" });
  if (card.source) picture.append(pictureOf([card.thumbnail, card.source], () => picture.replaceChildren(why(card))));
  else picture.append(why(card));
  if (state !== "done")
    picture.append(make("span", { class: BAD.has(state) ? "badge bad" : "badge" }, labelOf(state)));
  const meta = [card.usd !== undefined && usd(card.usd), card.seconds && `${card.seconds.toFixed(1)} s`,
    card.width && `${card.width}×${card.height}`].filter(Boolean).join(" · ") || nameOf(card);
  const button = make("button", { type: "button", class: "card" }, picture, make("span", { class: "text" },
    make("span", { class: "prompt", dir: "auto" }, (card.prompt ?? "").slice(0, 300)),
    make("span", { class: "meta" }, meta)));
  button.setAttribute("aria-label", `${nameOf(card)}, ${state}: ${(card.prompt ?? "").slice(0, 300)}`);
  button.onclick = () => open(place);
  const item = make("li", { "aria-posinset": place + 1, "aria-setsize": shown.length }, button);
  move(item, place);
  return item;
}

function pictureOf(sources, failed) {
  const [source, ...others] = sources.filter(Boolean);
  const image = make("img", { alt: "", decoding: "async", src: source });
  image.onerror = () => { if (others.length) image.src = others.shift(); else failed(); };
  return image;
}

function why(card) {
  const [kind, message] = card.error ?? (card.path ? ["File missing", card.path] : ["No image yet", ""]);
  return make("span", { class: "why" }, make("b", {}, kind), message.slice(0, 400));
}

function focusCard(place) {
  place = Math.max(0, Math.min(shown.length - 1, place));
  const top = grid.getBoundingClientRect().top + Math.floor(place / columns) * rowHeight;
  if (top < 0) scrollBy(0, top - GAP);
  else if (top + rowHeight > innerHeight) scrollBy(0, top + rowHeight - innerHeight);
  draw();
  drawn.get(place)?.firstChild.focus({ preventScroll: true });
}

grid.onkeydown = (event) => {
  const item = event.target.closest("li");
  const place = [...drawn].find(([, each]) => each === item)?.[0];
  const steps = {
    ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -Infinity, End: Infinity,
  };
  if (place === undefined || !(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  focusCard(place + steps[event.key]);
};

// ---- The full view

const view = byId("view");
let current = 0; // its place in `shown`

function open(place) {
  current = Math.max(0, Math.min(shown.length - 1, place));
  const card = shown[current], state = stateOf(card);
  byId("stage").replaceChildren(card.source ? full(card) : make("p", {}, labelOf(state)));
  byId("view-name").textContent = nameOf(card);
  byId("view-state").textContent = labelOf(state) + ({ changed: ": the file is not what was saved", missing: ": the file is not there" }[state] ?? "");
  byId("view-error").hidden = !card.error;
  byId("view-error").textContent = card.error ? card.error.join(": ") : "";
  byId("prompt").textContent = card.prompt ?? "";
  byId("prompt").scrollTop = 0;
  byId("position").textContent = `${(current + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")}`;
  byId("previous").setAttribute("aria-disabled", current === 0); // `disabled` would lose the focus
  byId("next").setAttribute("aria-disabled", current === shown.length - 1);
  byId("copied").textContent = "";
  byId("open").hidden = !card.source;
  if (card.source) byId("open").href = card.source;
  byId("facts").replaceChildren(...Object.entries(factsOf(card)).flatMap(([name, value]) =>
    value === undefined ? [] : [make("dt", { dir: "auto" }, name), make("dd", { dir: "auto" }, asText(value))]));
  if (!view.open) view.showModal();
}

function full(card) {
  const image = pictureOf([card.source], () => byId("stage").replaceChildren(make("p", {}, labelOf("missing"))));
  image.alt = (card.prompt ?? "").slice(0, 300);
  return image;
}

function factsOf(card) {
  return {
    ...card.fields,
    file: card.path,
    format: card.format,
    pixels: card.width && `${card.width} × ${card.height}`,
    bytes: card.bytes?.toLocaleString("en"),
    saved: card.saved && new Date(card.saved).toLocaleString(),
    seconds: card.seconds?.toFixed(1),
    cost: card.usd !== undefined ? `${usd(card.usd, 6)}` : undefined,
    credits: card.credits?.toLocaleString("en"),
    attempts: card.attempts,
    line: card.line,
    "request id": card.request_id,
    "inference id": card.inference_id,
    "sha-256": card.sha256,
  };
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // not allowed, such as on a page from a plain HTTP server
    const area = make("textarea", { readonly: "" });
    area.value = text;
    view.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  byId("copied").textContent = "Copied";
}

byId("previous").onclick = () => open(current - 1);
byId("next").onclick = () => open(current + 1);
byId("close").onclick = () => view.close();
byId("copy-prompt").onclick = () => copy(shown[current].prompt ?? "");
byId("copy-job").onclick = () => {
  const { id, prompt, parameters, carried } = shown[current];
  copy(JSON.stringify({ id, prompt, ...parameters, ...(carried && { metadata: carried }) }));
};
view.onclose = () => focusCard(current);
view.onkeydown = (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  open(current + step);
};

document.onkeydown = (event) => {
  if (event.key !== "/" || view.open || event.target.closest("input, select")) return;
  event.preventDefault();
  byId("search").focus();
};

showControls();
choose();
addEventListener("scroll", draw, { passive: true });
new ResizeObserver(layOut).observe(grid);
