"use strict";
const $ = id => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token") || "";
const POSITIVE = "#1fbf8f", NEGATIVE = "#ff7a1a", MASK = [230, 159, 0], TRUTH = [86, 180, 233];

// ---- who answers: the server, or what the page itself holds
const server = {
  live: true,
  async ask(path, message) {
    const answer = await fetch(path, {method: message ? "POST" : "GET", headers: {"x-token": token, "content-type": "application/json"},
      body: message ? JSON.stringify(message) : undefined});
    if (!answer.ok) throw new Error((await answer.json()).error);
    return answer;
  },
  async gallery() { return (await this.ask("gallery")).json(); },
  async image(view) { return createImageBitmap(await (await this.ask("image", {view})).blob()); },
  async prepare(model, view) { return (await this.ask("prepare", {model, view})).json(); },
  async answer(model, view, prompts, mask_id) { return (await this.ask("answer", {model, view, prompts, mask_id})).json(); },
  async save(message) { return (await this.ask("save", message)).json(); },
};
const recording = {
  live: false,
  async gallery() { return RECORDED.gallery; },
  async image(view) {
    const picture = new Image();
    picture.src = RECORDED.images[view.image_id][view.level];
    await picture.decode();
    return picture;
  },
  async prepare() {},
  async answer(model, view, prompts) { return RECORDED.answers[view.image_id][view.level][model][prompts.length - 1]; },
};
const source = RECORDED ? recording : server;

// ---- what is shown
let gallery, entry, maskId = null, picture = null, truth = null;
let prompts = [], times = [], begun = 0, kind = 1, boxing = false, filled = true, showTruth = false;
let answers = {}, turn = 0, stages = [], zoom = {scale: 1, x: 0, y: 0}, cross = null, drawn = null;

const chosen = () => [$("model0").value, $("model1").value].filter((name, place, all) => name && all.indexOf(name) === place);
const operations = () => [...document.querySelectorAll("#switches input:checked")].map(box => box.value);
const level = () => gallery.levels[+$("level").value];
const view = () => ({image_id: entry.image_id, level: operations().length ? "clear" : level().id, operations: operations(), severity: $("severity").value});
const recordedPrompts = () => RECORDED.prompts[entry.image_id][level().id];
const say = text => { $("status").textContent = text; };
const fail = error => say("Not done: " + error.message);

function option(select, value, text) {
  const made = document.createElement("option");
  made.value = value; made.textContent = text; select.append(made);
}

function decode(runs, width, height) {
  const mask = new Uint8Array(width * height);
  let place = 0;
  runs.forEach((length, index) => { if (index % 2) mask.fill(1, place, place + length); place += length; });
  return mask;
}

function paint(mask, width, height, colour, full) {
  const image = new ImageData(width, height), at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    if (!mask[y * width + x]) continue;
    const rim = !(at(x - 1, y) && at(x + 1, y) && at(x, y - 1) && at(x, y + 1));
    if (rim || full) image.data.set([...colour, rim ? 255 : 95], 4 * (y * width + x));
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// ---- stages: one canvas per model, all at the same zoom
function buildStages() {
  $("views").replaceChildren();
  stages = chosen().map(model => {
    const ratio = Math.max(0.6, entry.width / entry.height);
    const figure = document.createElement("figure"), stage = document.createElement("div"), caption = document.createElement("figcaption");
    const canvas = document.createElement("canvas"), name = document.createElement("span"), score = document.createElement("span");
    name.textContent = model; stage.className = "stage"; stage.tabIndex = 0;
    stage.style.aspectRatio = ratio;
    stage.setAttribute("role", "application");
    stage.setAttribute("aria-label", `Image with the mask of ${model}. Arrow keys move the cross, Enter clicks.`);
    stage.append(canvas); caption.append(name, score); figure.append(stage, caption); $("views").append(figure);
    const made = {model, stage, canvas, score};
    listen(made);
    return made;
  });
  draw();
}

function place(stage) {
  const {width, height} = stage.canvas, fit = Math.min(width / entry.width, height / entry.height), scale = fit * zoom.scale;
  return {scale, left: width / 2 - (entry.width / 2 + zoom.x) * scale, top: height / 2 - (entry.height / 2 + zoom.y) * scale};
}

function draw() { stages.forEach(drawStage); }

function drawStage(stage) {
  const ratio = window.devicePixelRatio || 1, {canvas} = stage;
  canvas.width = stage.stage.clientWidth * ratio; canvas.height = stage.stage.clientHeight * ratio;
  const pen = canvas.getContext("2d"), {scale, left, top} = place(stage);
  pen.imageSmoothingEnabled = false;
  pen.setTransform(scale, 0, 0, scale, left, top);
  if (picture) pen.drawImage(picture, 0, 0);
  const answer = answers[stage.model];
  if (truth && showTruth) pen.drawImage(paint(truth, entry.width, entry.height, TRUTH, false), 0, 0);
  if (answer) pen.drawImage(paint(answer.mask, entry.width, entry.height, MASK, filled), 0, 0);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  const at = (x, y) => [left + (x + 0.5) * scale, top + (y + 0.5) * scale];
  for (const prompt of [...prompts, ...(drawn ? [drawn] : [])]) {
    if (prompt.kind === "box") {
      const [x0, y0, x1, y1] = prompt.values, [a, b] = at(x0 - 0.5, y0 - 0.5), [c, d] = at(x1 + 0.5, y1 + 0.5);
      pen.lineWidth = 2 * ratio; pen.strokeStyle = "#f0e442"; pen.strokeRect(a, b, c - a, d - b);
      continue;
    }
    const [x, y, label] = prompt.values, [a, b] = at(x, y);
    pen.beginPath(); pen.arc(a, b, 6 * ratio, 0, 7); pen.fillStyle = label ? POSITIVE : NEGATIVE; pen.fill();
    pen.lineWidth = 1.5 * ratio; pen.strokeStyle = "#fff"; pen.stroke();
    pen.beginPath(); pen.moveTo(a - 3 * ratio, b); pen.lineTo(a + 3 * ratio, b);
    if (label) { pen.moveTo(a, b - 3 * ratio); pen.lineTo(a, b + 3 * ratio); }
    pen.stroke();
  }
  if (cross && document.activeElement === stage.stage) {
    const [a, b] = at(cross.x, cross.y);
    pen.strokeStyle = "#fff"; pen.lineWidth = ratio; pen.beginPath();
    pen.moveTo(a - 14 * ratio, b); pen.lineTo(a + 14 * ratio, b); pen.moveTo(a, b - 14 * ratio); pen.lineTo(a, b + 14 * ratio); pen.stroke();
  }
  stage.score.textContent = answer ? describe(answer) : prompts.length ? "…" : "";
}

const describe = answer => (answer.dice === undefined ? `${answer.area} px` : `Dice ${(100 * answer.dice).toFixed(1)}, NSD ${(100 * answer.nsd_2).toFixed(1)}`)
  + (source.live ? `, ${Math.round(answer.encode_ms + answer.predict_ms)} ms` : "");

// ---- asking
async function showView() {
  const mine = ++turn;
  try {
    say("Loading …");
    const shown = view(), loaded = await source.image(shown);
    if (mine !== turn) return;
    picture = loaded; answers = {}; draw();
    await Promise.all(chosen().map(model => source.prepare(model, shown)));
    if (mine === turn) await ask();
  } catch (error) { if (mine === turn) fail(error); }
}

async function ask() {
  const mine = ++turn;
  refresh();
  if (!prompts.length) { answers = {}; draw(); say(source.live ? "Click on the object, or draw a box around it." : "Press Next click."); return; }
  answers = {}; draw();
  try {
    const shown = view(), given = prompts.slice();
    await Promise.all(chosen().map(async model => {
      const answer = await source.answer(model, shown, given, maskId);
      if (mine !== turn) return;
      answers[model] = {...answer, mask: decode(answer.runs, entry.width, entry.height)};
      draw();
    }));
    if (mine === turn) say(`After ${given.length} ${given.length === 1 ? "prompt" : "prompts"}: ` + chosen().map(model => `${model}: ${describe(answers[model])}`).join("; "));
  } catch (error) {
    if (mine !== turn) return;
    prompts.pop(); times.pop(); refresh(); draw(); fail(error);
  }
}

function add(prompt) {
  if (!source.live) return;
  prompts.push(prompt); times.push((performance.now() - begun) / 1000);
  ask();
}

function restart() { prompts = []; times = []; answers = {}; begun = performance.now(); boxing = false; ask(); }

function refresh() {
  $("positive").setAttribute("aria-pressed", !boxing && kind === 1);
  $("negative").setAttribute("aria-pressed", !boxing && kind === 0);
  $("box").setAttribute("aria-pressed", boxing);
  $("box").disabled = prompts.length > 0;
  $("negative").disabled = prompts.length === 0;
  $("undo").disabled = $("clear").disabled = prompts.length === 0;
  $("save").disabled = prompts.length === 0;
  $("fill").setAttribute("aria-pressed", filled);
  $("reference").setAttribute("aria-pressed", showTruth);
  $("reference").disabled = !truth;
  if (!source.live) $("next").disabled = prompts.length >= recordedPrompts().length;
  $("levelname").textContent = operations().length ? "Clear, then" : level().label;
}

function choose(what) {
  boxing = what === "box" && prompts.length === 0;
  if (what === "positive") kind = 1;
  if (what === "negative") kind = 0;
  refresh();
}

// ---- mouse, touch, keys
function listen(made) {
  const {stage} = made, fingers = new Map();
  let start = null, moved = false, space = false;
  const pixel = event => {
    const box = stage.getBoundingClientRect(), ratio = window.devicePixelRatio || 1, {scale, left, top} = place(made);
    const x = Math.floor(((event.clientX - box.left) * ratio - left) / scale), y = Math.floor(((event.clientY - box.top) * ratio - top) / scale);
    return {x, y, inside: x >= 0 && y >= 0 && x < entry.width && y < entry.height};
  };
  const clamp = at => ({x: Math.min(Math.max(at.x, 0), entry.width - 1), y: Math.min(Math.max(at.y, 0), entry.height - 1)});
  const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY); };
  const shift = (dx, dy) => { const ratio = window.devicePixelRatio || 1, {scale} = place(made); zoom.x -= dx * ratio / scale; zoom.y -= dy * ratio / scale; draw(); };
  stage.addEventListener("pointerdown", event => {
    stage.setPointerCapture(event.pointerId); stage.focus(); fingers.set(event.pointerId, event); moved = false;
    start = {event, at: pixel(event), far: fingers.size === 2 ? spread() : 0, scale: zoom.scale, pan: event.button === 1 || space};
  });
  stage.addEventListener("pointermove", event => {
    if (!fingers.has(event.pointerId)) return;
    const last = fingers.get(event.pointerId); fingers.set(event.pointerId, event);
    if (Math.hypot(event.clientX - start.event.clientX, event.clientY - start.event.clientY) > 5) moved = true;
    if (fingers.size === 2) { zoom.scale = Math.min(40, Math.max(1, start.scale * spread() / start.far)); shift((event.clientX - last.clientX) / 2, (event.clientY - last.clientY) / 2); }
    else if (start.pan) shift(event.clientX - last.clientX, event.clientY - last.clientY);
    else if (boxing) { const a = clamp(start.at), b = clamp(pixel(event)); drawn = {kind: "box", values: [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)]}; draw(); }
  });
  stage.addEventListener("pointerup", event => {
    const alone = fingers.size === 1; fingers.delete(event.pointerId);
    if (!alone || !start || start.pan) return;
    if (boxing) { const box = drawn; drawn = null; boxing = false; if (box) add(box); else refresh(); return; }
    const at = pixel(event);
    if (moved || !at.inside) return;
    const negative = event.button === 2 || event.shiftKey || kind === 0;
    cross = {x: at.x, y: at.y};
    add({kind: "point", values: [at.x, at.y, negative && prompts.length ? 0 : 1]});
  });
  stage.addEventListener("pointercancel", event => { fingers.delete(event.pointerId); drawn = null; draw(); });
  stage.addEventListener("contextmenu", event => event.preventDefault());
  stage.addEventListener("wheel", event => { event.preventDefault(); zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2); }, {passive: false});
  stage.addEventListener("focus", draw); stage.addEventListener("blur", draw);
  stage.addEventListener("keyup", event => { if (event.key === " ") space = false; });
  stage.addEventListener("keydown", event => {
    const step = event.shiftKey ? 10 : 1, moves = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step]}[event.key];
    if (event.key === " ") { space = true; event.preventDefault(); }
    if (moves) {
      event.preventDefault();
      cross = clamp({x: (cross ? cross.x : entry.width >> 1) + moves[0], y: (cross ? cross.y : entry.height >> 1) + moves[1]});
      draw();
    }
    if (event.key === "Enter" && cross) add({kind: "point", values: [cross.x, cross.y, kind === 0 && prompts.length ? 0 : 1]});
  });
}

function zoomBy(factor) { zoom.scale = Math.min(40, Math.max(1, zoom.scale * factor)); if (zoom.scale === 1) zoom.x = zoom.y = 0; draw(); }

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range") return;
  const press = {p: "positive", n: "negative", b: "box", z: "undo", r: "clear", f: "fill", g: "reference", s: "save", "+": "zoomin", "-": "zoomout", "0": "fit"}[event.key.toLowerCase()];
  if (press && !$(press).disabled && !$(press).hidden) { event.preventDefault(); $(press).click(); }
  if (/^[1-5]$/.test(event.key) && event.key <= gallery.levels.length) { $("level").value = event.key - 1; changeLevel(); }
});

// ---- controls
function changeLevel() {
  if (operations().length) document.querySelectorAll("#switches input:checked").forEach(box => { box.checked = false; });
  if (!source.live) prompts = recordedPrompts().slice(0, prompts.length);
  refresh(); showView();
}

async function showReference() {
  truth = null;
  if (maskId && source.live) {
    const runs = (await (await source.ask("reference", {image_id: entry.image_id, mask_id: maskId})).json()).runs;
    truth = decode(runs, entry.width, entry.height);
  } else if (maskId) truth = decode(RECORDED.references[maskId], entry.width, entry.height);
}

async function changeObject() {
  maskId = $("object").value || null;
  try { await showReference(); } catch (error) { fail(error); }
  restart();
}

async function changeImage() {
  entry = gallery.images.find(image => image.image_id === $("image").value);
  zoom = {scale: 1, x: 0, y: 0}; cross = null; picture = null; answers = {}; prompts = []; times = []; begun = performance.now();
  $("object").replaceChildren();
  entry.masks.forEach(mask => option($("object"), mask.mask_id, mask.structure + (entry.masks.length > 1 ? " (" + mask.mask_id.split("__").pop() + ")" : "")));
  $("object").disabled = entry.masks.length === 0;
  maskId = $("object").value || null;
  $("switches").replaceChildren();
  entry.operations.forEach(name => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox"; box.value = name; box.addEventListener("change", () => { refresh(); showView(); });
    label.append(box, " " + name.replaceAll("_", " ")); $("switches").append(label);
  });
  const last = entry.modality ? gallery.levels.length : gallery.levels.length - 1;
  $("level").max = last - 1;
  try { await showReference(); } catch (error) { fail(error); }
  buildStages(); refresh(); showView();
}

$("image").addEventListener("change", changeImage);
$("object").addEventListener("change", changeObject);
$("level").addEventListener("change", changeLevel);
$("severity").addEventListener("change", () => { if (operations().length) showView(); });
["model0", "model1"].forEach(id => $(id).addEventListener("change", () => { buildStages(); showView(); }));
["positive", "negative", "box"].forEach(id => $(id).addEventListener("click", () => choose(id)));
$("undo").addEventListener("click", () => { prompts.pop(); times.pop(); ask(); });
$("clear").addEventListener("click", restart);
$("next").addEventListener("click", () => { prompts.push(recordedPrompts()[prompts.length]); ask(); });
$("fill").addEventListener("click", () => { filled = !filled; refresh(); draw(); });
$("reference").addEventListener("click", () => { showTruth = !showTruth; refresh(); draw(); });
$("zoomin").addEventListener("click", () => zoomBy(1.5));
$("zoomout").addEventListener("click", () => zoomBy(1 / 1.5));
$("fit").addEventListener("click", () => { zoom = {scale: 1, x: 0, y: 0}; draw(); });
$("save").addEventListener("click", async () => {
  try {
    for (const model of chosen()) {
      const saved = await source.save({view: view(), prompts, seconds: times, mask_id: maskId, model, alias: $("alias").value});
      $("saved").textContent = "Saved: " + saved.written.join(", ") + (operations().length ? ". Clicks on single degradations are in clicks.json only." : "");
    }
  } catch (error) { $("saved").textContent = "Not saved: " + error.message; }
});
new ResizeObserver(draw).observe($("views"));

(async () => {
  try {
    gallery = await source.gallery();
    $("title").textContent = gallery.title;
    $("banner").hidden = !gallery.synthetic;
    $("banner").textContent = "Synthetic images: drawn phantoms, no scans.";
    gallery.images.forEach(image => option($("image"), image.image_id, image.image_id));
    gallery.models.forEach(model => option($("model0"), model.name, model.name));
    option($("model1"), "", "nothing");
    gallery.models.forEach(model => option($("model1"), model.name, model.name));
    $("model0").value = gallery.shown[0]; $("model1").value = gallery.shown[1] || "";
    if (!source.live) {
      ["positive", "negative", "box", "operations", "keep"].forEach(id => { $(id).hidden = true; });
      $("next").hidden = false;
      $("banner").hidden = false;
      $("banner").textContent += " Recorded answers: the clicks are those of the simulated user.";
    }
    await changeImage();
  } catch (error) { fail(error); }
})();
