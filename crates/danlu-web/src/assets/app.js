// The dashboard's only script: finding in the list, live updates, the image to try. Pages work without it, only not live.
"use strict";

const by = (id) => document.getElementById(id);

// The list: rows that match what is typed.
const find = by("find");
if (find) {
  find.addEventListener("input", () => {
    const wanted = find.value.toLowerCase();
    for (const row of document.querySelectorAll("#runs tbody tr")) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
    }
  });
}

const run = by("run");
if (run) {
  const base = "/runs/" + run.dataset.run;
  if (run.dataset.live === "true") live(base);
  const stop = by("stop");
  if (stop) {
    stop.addEventListener("click", async () => {
      stop.disabled = true;
      const answer = await fetch(base + "/stop", { method: "POST" });
      by("stopped").textContent = answer.ok ? "asked; it writes a checkpoint first" : (await answer.json()).error;
    });
  }
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
    if (event.dataTransfer.files.length) look(base, event.dataTransfer.files[0]);
  });
  by("image").addEventListener("change", (event) => {
    if (event.target.files.length) look(base, event.target.files[0]);
  });
}

function live(base) {
  const source = new EventSource(base + "/live");
  source.addEventListener("run", async (event) => {
    const now = JSON.parse(event.data);
    by("status").textContent = now.status;
    by("epoch").textContent = now.epoch + " of " + now.epochs;
    by("val_top1").textContent = now.val_top1 === null ? "-" : (100 * now.val_top1).toFixed(2) + " %";
    by("val_loss").textContent = now.val_loss === null ? "-" : now.val_loss.toFixed(4);
    by("curves").innerHTML = await (await fetch(base + "/curves")).text();
    if (now.status !== "training") {
      source.close();
      const stop = by("stop");
      if (stop) stop.disabled = true;
    }
  });
}

function element(name, text, attributes) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  for (const key in attributes || {}) made.setAttribute(key, attributes[key]);
  return made;
}

async function look(base, file) {
  const place = by("answer");
  place.replaceChildren(element("p", "looking …"));
  let answer;
  try {
    const response = await fetch(base + "/predict", { method: "POST", body: file });
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
    row.append(element("td", name));
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
}
