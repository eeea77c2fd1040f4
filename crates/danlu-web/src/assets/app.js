// The dashboard's only script: finding in the list, what moves, pictures on demand, the image to try. Pages work without it,
// only not live.
"use strict";

const by = (id) => document.getElementById(id);
const percent = (share) => (share === null ? "-" : (100 * share).toFixed(2) + " %");

// The list: rows that match what is typed, and rows that move while runs train.
const list = by("runs");
if (list) {
  const rows = () => [...list.tBodies].flatMap((body) => [...body.rows]);
  // The rows below the first ones come after the first paint.
  requestAnimationFrame(() => setTimeout(() => [...list.tBodies].forEach((body) => (body.hidden = false))));
  const find = by("find");
  const filter = () => {
    const wanted = find.value.toLowerCase();
    let found = 0;
    for (const row of rows()) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      found += !row.hidden;
    }
    by("found").textContent = wanted ? found + " found" : "";
  };
  find.addEventListener("input", filter);
  if (find.value) filter();
  let since = Number(list.dataset.now);
  setInterval(async () => {
    if (document.hidden) return;
    const answer = await fetch("/api/runs?changed_since=" + since).catch(() => null);
    if (!answer || !answer.ok) return;
    const news = await answer.json();
    // A run may have written within the second in which we asked.
    since = news.now - 1;
    for (const run of news.runs) {
      const row = rows().find((row) => row.dataset.run === run.name);
      if (!row) {
        by("found").innerHTML = 'new runs: <a href="/">load again</a>';
        continue;
      }
      const status = row.cells[2].firstChild;
      status.className = "status " + run.status;
      status.textContent = run.status;
      row.cells[3].textContent = run.epoch + "/" + run.epochs;
      row.cells[4].textContent = percent(run.val_top1);
      row.cells[5].textContent = run.val_loss === null ? "-" : run.val_loss.toFixed(4);
      row.cells[8].textContent = Math.max(0, news.now - run.changed) + " s ago";
    }
  }, 3000);
}

// A run or a study that goes on: its part of the page is asked for again after every event, but so seldom that looking takes
// the machine at most a hundredth of the time.
const progress = by("progress");
if (progress && progress.dataset.events) {
  const source = new EventSource(progress.dataset.events);
  let next = 0, waits = false;
  const again = async () => {
    waits = false;
    const begin = performance.now();
    const answer = await fetch(progress.dataset.fragment).catch(() => null);
    if (answer && answer.ok) progress.innerHTML = await answer.text();
    const end = performance.now();
    next = end + 100 * (end - begin);
  };
  const news = (event) => {
    const now = JSON.parse(event.data);
    if (event.type === "run") {
      // The numbers move at once, the pictures when it is their turn.
      by("status").textContent = now.status;
      by("epoch").textContent = now.epoch + " of " + now.epochs;
      by("val_top1").textContent = percent(now.val_top1);
      if (now.status !== "training") {
        source.close();
        if (by("stop")) by("stop").disabled = true;
        next = 0;
      }
    }
    if (waits && next > 0) return;
    waits = true;
    setTimeout(again, Math.max(0, next - performance.now()));
  };
  source.addEventListener("run", news);
  source.addEventListener("study", news);
}

const run = by("run");
const base = run && "/runs/" + run.dataset.run;
if (run) {
  const stop = by("stop");
  if (stop) {
    stop.addEventListener("click", async () => {
      stop.disabled = true;
      const answer = await fetch(base + "/stop", { method: "POST" });
      by("stopped").textContent = answer.ok ? "asked; it writes a checkpoint first" : (await answer.json()).error;
    });
  }
  by("draw").addEventListener("submit", (event) => {
    event.preventDefault();
    const what = event.target.elements.what;
    const width = Math.min(880, by("draw").clientWidth);
    const source = base + "/draw?width=" + width + "&what=" + encodeURIComponent(what.value);
    show(by("drawn"), source, what.selectedOptions[0].textContent);
  });
  const drop = by("drop");
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) look(event.dataTransfer.files[0]);
  });
  by("image").addEventListener("change", (event) => {
    if (event.target.files.length) look(event.target.files[0]);
  });
}

function element(name, text, attributes) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  for (const key in attributes || {}) made.setAttribute(key, attributes[key]);
  return made;
}

// A picture of the server's, or what it says instead.
async function show(place, source, name) {
  place.replaceChildren(element("p", "drawing …"));
  const answer = await fetch(source).catch(() => null);
  if (!answer || !answer.ok) {
    const said = answer && (await answer.json().catch(() => null));
    place.replaceChildren(element("p", said ? said.error : "the server does not answer", { class: "warn" }));
    return;
  }
  const address = URL.createObjectURL(await answer.blob());
  place.replaceChildren(element("img", "", { src: address, alt: name, class: "picture" }));
}

async function look(file, maps) {
  const place = by("answer");
  place.replaceChildren(element("p", "looking …"));
  let answer;
  try {
    const response = await fetch(base + "/predict" + (maps ? "?maps=true" : ""), { method: "POST", body: file });
    answer = await response.json().catch(() => ({ error: "the server answered " + response.status }));
  } catch (problem) {
    answer = { error: "the server does not answer" };
  }
  if (answer.error) {
    place.replaceChildren(element("p", answer.error + (answer.hint ? " (" + answer.hint + ")" : ""), { class: "warn" }));
    return;
  }
  const box = element("div", "", { class: "answer" });
  const table = element("table");
  table.append(element("caption", "what it is", { class: "hidden" }));
  for (const { class: name, probability } of answer.predictions.slice(0, 5)) {
    const row = table.insertRow();
    row.append(element("th", name, { scope: "row" }));
    const bar = row.insertCell();
    bar.append(element("meter", "", { min: 0, max: 1, value: probability, "aria-hidden": "true" }));
    row.append(element("td", (100 * probability).toFixed(1) + " %", { class: "n" }));
  }
  const figure = (source, caption) => {
    const made = element("figure");
    made.append(element("img", "", { src: source, alt: caption }), element("figcaption", caption));
    return made;
  };
  box.append(table);
  if (answer.image) box.append(figure(answer.image, "as the network sees it"));
  if (answer.grad_cam) box.append(figure(answer.grad_cam.image, "where it looked for " + answer.grad_cam.class));
  place.replaceChildren(box);
  if (answer.feature_maps) {
    const picture = new Blob([answer.feature_maps], { type: "image/svg+xml" });
    place.append(element("img", "", { src: URL.createObjectURL(picture), alt: "feature maps", class: "picture" }));
  } else if (answer.grad_cam) {
    const more = element("button", "Show what each layer sees", { type: "button" });
    more.addEventListener("click", () => look(file, true));
    place.append(more);
  }
}
