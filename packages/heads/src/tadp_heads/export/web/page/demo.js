"use strict";

const [height, width] = site.size;
const page = Object.fromEntries(
  ["prompt", "status", "images", "upload", "image", "mask", "mask-title", "legend", "maps", "title", "notice"].map(
    (id) => [id, document.getElementById(id)],
  ),
);
const tokenizer = new Tokenizer(site.tokenizer);
// Okabe and Ito's colours, distinguished without colour vision too.
const WORD_COLOURS = [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0], [86, 180, 233]];
const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
// Words of a share of the attention below this colour no pixel.
const LEAST_SHARE = 0.2;
let sessions, pixels, isBusy = false, isStale = false;

// What data is behind a name of `site.packed`.
async function unpacked(name) {
  const bytes = Uint8Array.from(atob(site.packed[name]), (letter) => letter.charCodeAt(0));
  delete site.packed[name];
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

async function start() {
  const glue = new Blob([await unpacked("ort-wasm-simd-threaded.mjs")], { type: "text/javascript" });
  ort.env.wasm.numThreads = 1; // more need headers that only a server can send
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(glue) };
  ort.env.wasm.wasmBinary = await unpacked("ort-wasm-simd-threaded.wasm");
  const open = async (name) => ort.InferenceSession.create(await unpacked(name), { executionProviders: ["wasm"] });
  sessions = { text: await open("text.onnx"), model: await open("model.onnx") };
  await choose(0);
}

// RGBA of an image or video frame, cut to the model's shape.
function pixelsOf(source) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const scale = Math.max(width / source.width, height / source.height);
  const [w, h] = [source.width * scale, source.height * scale];
  context.imageSmoothingQuality = "high";
  context.drawImage(source, (width - w) / 2, (height - h) / 2, w, h);
  return context.getImageData(0, 0, width, height);
}

async function choose(index) {
  const chosen = page.images.children[index].querySelector("img");
  await chosen.decode();
  [...page.images.children].forEach((button, other) => button.setAttribute("aria-pressed", other === index));
  pixels = pixelsOf(chosen);
  page.prompt.value = site.images[index].caption;
  await refresh();
}

async function upload() {
  const [file] = page.upload.files;
  if (!file) return;
  try {
    pixels = pixelsOf(await createImageBitmap(file));
  } catch {
    page.status.textContent = `${file.name} is no image that this browser reads: choose a PNG, JPEG or WebP file`;
    return;
  }
  [...page.images.children].forEach((button) => button.setAttribute("aria-pressed", false));
  await refresh();
}

// One pass at a time; of what is typed meanwhile the newest is next.
async function refresh() {
  isStale = true;
  if (isBusy || !sessions) return;
  isBusy = true;
  document.body.dataset.state = "busy";
  try {
    while (isStale) {
      isStale = false;
      await show(page.prompt.value);
    }
  } catch (error) {
    page.status.textContent = `The pass failed: ${error.message}`;
    throw error;
  } finally {
    isBusy = false;
    document.body.dataset.state = "ready";
  }
}

async function show(text) {
  const begin = performance.now();
  const { ids, words, isCut } = tokenizer.encode(text);
  const tokens = new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
  const { context } = await sessions.text.run({ input_ids: tokens });
  const output = await sessions.model.run({ images: imageTensor(), context });
  const taken = performance.now() - begin;
  const maps = wordMaps(output.maps, words.filter((word) => /[\p{L}\p{N}]/u.test(word.text)));
  draw(page.image, (index) => pixelAt(index));
  const classes = output.logits ? argmax(output.logits) : strongestWords(maps);
  showMask(classes, output.logits ? { names: site.classes, colours: site.palette } : coloursOf(maps));
  showMaps(maps);
  const lost = isCut ? `; of the prompt ${tokenizer.length - 2} tokens are read` : "";
  page.status.textContent = `${taken.toFixed(0)} ms in this browser${lost}`;
  document.body.dataset.prompt = text;
}

// (1, 3, H, W) in the model's range.
function imageTensor() {
  const count = height * width;
  const values = new Float32Array(3 * count);
  for (let channel = 0; channel < 3; channel++)
    for (let index = 0; index < count; index++) {
      const value = pixels.data[4 * index + channel];
      const { mean, std } = IMAGENET;
      values[channel * count + index] =
        site.range === "imagenet" ? (value / 255 - mean[channel]) / std[channel] : value / 127.5 - 1;
    }
  return new ort.Tensor("float32", values, [1, 3, height, width]);
}

// [{word, share: the attention of its tokens per pixel}]
function wordMaps(maps, words) {
  const [, , rows, columns] = maps.dims;
  return words.map((word) => {
    const cells = new Float32Array(rows * columns);
    for (const position of word.positions)
      cells.forEach((_, cell) => (cells[cell] += maps.data[position * rows * columns + cell]));
    return { word, share: upsampled(cells, rows, columns) };
  });
}

// Bilinear, corners not aligned.
function upsampled(cells, rows, columns) {
  const axis = (size, count) =>
    Array.from({ length: size }, (_, index) => {
      const at = Math.min(Math.max(((index + 0.5) * count) / size - 0.5, 0), count - 1);
      const low = Math.floor(at);
      return [low, Math.min(low + 1, count - 1), at - low];
    });
  const [ys, xs] = [axis(height, rows), axis(width, columns)];
  const mix = (a, b, part) => a + (b - a) * part;
  return Float32Array.from({ length: height * width }, (_, index) => {
    const [y0, y1, dy] = ys[Math.floor(index / width)];
    const [x0, x1, dx] = xs[index % width];
    const row = (y) => mix(cells[y * columns + x0], cells[y * columns + x1], dx);
    return mix(row(y0), row(y1), dy);
  });
}

// logits (1, K, H, W) -> the class of each pixel
function argmax({ data, dims: [, count] }) {
  const size = height * width;
  return Int32Array.from({ length: size }, (_, index) => {
    let best = 0;
    for (let label = 1; label < count; label++) if (data[label * size + index] > data[best * size + index]) best = label;
    return best;
  });
}

// Index of the word with the largest share in each pixel; -1 where all are small.
function strongestWords(maps) {
  return Int32Array.from({ length: height * width }, (_, index) => {
    let best = -1;
    maps.forEach(({ share }, word) => {
      if (share[index] >= LEAST_SHARE && (best < 0 || share[index] > maps[best].share[index])) best = word;
    });
    return best;
  });
}

function coloursOf(maps) {
  return { names: maps.map(({ word }) => word.text), colours: maps.map((_, i) => WORD_COLOURS[i % WORD_COLOURS.length]) };
}

const pixelAt = (index) => pixels.data.slice(4 * index, 4 * index + 3);
const blend = (a, b, part) => [0, 1, 2].map((channel) => a[channel] + (b[channel] - a[channel]) * part);

function showMask(classes, { names, colours }) {
  draw(page.mask, (index) => {
    const label = classes[index];
    return label < 0 ? blend(pixelAt(index), [128, 128, 128], 0.7) : blend(pixelAt(index), colours[label], 0.75);
  });
  const found = [...new Set(classes)].filter((label) => label >= 0).sort((a, b) => a - b);
  page.legend.replaceChildren(
    ...found.map((label) => {
      const item = document.createElement("li");
      const patch = document.createElement("span");
      patch.style.background = `rgb(${colours[label].join()})`;
      item.append(patch, names[label]);
      return item;
    }),
  );
}

function showMaps(maps) {
  const largest = Math.max(LEAST_SHARE, ...maps.map(({ share }) => Math.max(...share)));
  page.maps.replaceChildren(
    ...maps.map(({ word, share }) => {
      const figure = document.createElement("figure");
      const canvas = document.createElement("canvas");
      canvas.role = "img";
      canvas.ariaLabel = `Where ${word.text} attends`;
      draw(canvas, (index) => heat(grey(pixelAt(index)), share[index] / largest));
      const caption = document.createElement("figcaption");
      const peak = document.createElement("small");
      peak.textContent = `max ${Math.max(...share).toFixed(2)}`;
      caption.append(word.text, peak);
      if (word.positions.length > 1 && !(word.text in site.tokenizer.added)) {
        figure.title = `"${word.text}" is ${word.positions.length} pieces to this tokenizer`;
        figure.classList.add("pieces");
      }
      figure.append(canvas, caption);
      return figure;
    }),
  );
}

function grey([red, green, blue]) {
  const value = 0.3 * red + 0.59 * green + 0.11 * blue;
  return [value, value, value];
}

// From dark over orange to pale yellow, over a dimmed grey image.
function heat(base, value) {
  const stops = [[20, 11, 52], [132, 32, 107], [229, 92, 48], [246, 215, 70]];
  const at = Math.min(Math.max(value, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  return blend(base, blend(stops[low], stops[low + 1], at - low), 0.72);
}

function draw(canvas, colourOf) {
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const drawn = context.createImageData(width, height);
  for (let index = 0; index < width * height; index++) drawn.data.set([...colourOf(index), 255], 4 * index);
  context.putImageData(drawn, 0, 0);
}

function build() {
  document.title = site.title;
  page.title.textContent = site.title;
  page.notice.textContent = site.notice;
  page["mask-title"].textContent = site.classes.length ? "Mask of the head" : "Mask: the word that attends most";
  site.images.forEach((image, index) => {
    const [button, shown] = [document.createElement("button"), document.createElement("img")];
    Object.assign(shown, { src: image.png, alt: image.name, width: 64, height: 64 });
    button.type = "button";
    button.append(shown, image.name);
    button.addEventListener("click", () => choose(index));
    page.images.append(button);
  });
  page.prompt.addEventListener("input", refresh);
  page.upload.addEventListener("change", upload);
}

build();
start().catch((error) => {
  page.status.textContent = `The model could not be started: ${error.message}`;
  document.body.dataset.state = "failed";
  throw error;
});
