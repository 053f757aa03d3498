// The photograph with its classes in colour, and the list of classes beside it.

import {currentLanguage, say} from './texts.js';

const LARGEST = 1600; // pixels of the longer side that are painted on the screen
const STEP = 0.02; // of the picture, for each press of an arrow key
const element = (id) => document.getElementById(id);

export class View {
  /** @param about Classes and colours of about.json. */
  constructor(about) {
    this.classes = about.classes;
    this.colours = about.colours;
    this.hidden = new Set(); // ids; kept from one photograph to the next
    this.bitmap = null;
    this.found = null;
    this.place = null; // of the marker, from 0 to 1

    this.area = element('picture');
    this.image = element('image');
    this.paint = element('paint');
    this.marker = element('marker');
    this.tag = element('name');
    this.opacity = element('opacity');
    this.opacity.oninput = () => this.setOpacity();
    this.setOpacity();
    this.area.onpointermove = (event) => this.point(event);
    this.area.onpointerdown = (event) => this.point(event);
    this.area.onpointerleave = () => this.leave();
    this.area.onblur = () => this.leave();
    this.area.onkeydown = (event) => this.press(event);
  }

  /** Decode a photograph to look at, with its colours as they are meant. */
  load(file) {
    this.coming = createImageBitmap(file, {imageOrientation: 'from-image'});
    this.coming.catch(() => {}); // the worker says what is wrong
  }

  /** Show what was found: ids, counts, width and height. */
  async show(found) {
    const bitmap = await this.coming;
    this.bitmap?.close();
    this.bitmap = bitmap;
    this.found = found;
    this.leave();
    const {width, height} = found;
    const scale = Math.min(1, LARGEST / Math.max(width, height));
    for (const canvas of [this.image, this.paint]) {
      canvas.width = Math.max(1, Math.round(width * scale));
      canvas.height = Math.max(1, Math.round(height * scale));
    }
    this.area.style.aspectRatio = `${width} / ${height}`;
    this.area.style.width = `min(100%, ${(78 * width) / height}vh)`;
    this.image.getContext('2d').drawImage(bitmap, 0, 0, this.image.width, this.image.height);
    this.listClasses();
    this.paintClasses(this.paint);
  }

  /** The classes that were found, the largest first. */
  present() {
    const {counts} = this.found;
    return counts.map((count, id) => id).filter((id) => counts[id]).sort((a, b) => counts[b] - counts[a]);
  }

  /** Classes and shares in one line. */
  summary() {
    return this.present().map((id) => `${this.classes[id]} ${this.share(id)}`).join(', ');
  }

  share(id) {
    const share = this.found.counts[id] / this.found.ids.length;
    if (share < 0.001) return `< ${percent(0.001)}`;
    return percent(share);
  }

  listClasses() {
    const items = this.present().map((id) => {
      const item = document.createElement('li');
      const label = document.createElement('label');
      const box = document.createElement('input');
      const swatch = document.createElement('i');
      const name = document.createElement('b');
      const share = document.createElement('span');
      box.type = 'checkbox';
      box.checked = !this.hidden.has(id);
      box.ariaLabel = `${say('show', {name: this.classes[id]})}, ${this.share(id)}`;
      box.onchange = () => {
        if (box.checked) this.hidden.delete(id);
        else this.hidden.add(id);
        this.paintClasses(this.paint);
      };
      swatch.style.background = `rgb(${this.colours[id].join(' ')})`;
      name.textContent = this.classes[id];
      share.textContent = this.share(id);
      label.append(box, swatch, name, share);
      item.dataset.id = id;
      item.append(label);
      return item;
    });
    element('classes').replaceChildren(...items);
  }

  translate() {
    if (this.found) this.listClasses();
  }

  /** Colour the classes that are shown; black ones, as VOC's background, leave the picture bare. */
  paintClasses(canvas) {
    const {ids, width, height} = this.found;
    const context = canvas.getContext('2d');
    const pixels = context.createImageData(canvas.width, canvas.height);
    const words = new Uint32Array(pixels.data.buffer);
    const table = this.colours.map((colour, id) => this.word(colour, id));
    for (let y = 0, to = 0; y < canvas.height; y++) {
      const row = width * Math.floor(((y + 0.5) * height) / canvas.height);
      for (let x = 0; x < canvas.width; x++, to++) {
        words[to] = table[ids[row + Math.floor(((x + 0.5) * width) / canvas.width)]];
      }
    }
    context.putImageData(pixels, 0, 0);
  }

  word(colour, id) {
    const shown = !this.hidden.has(id) && colour.some((value) => value > 0);
    const bytes = new Uint8ClampedArray([...colour, 255]);
    return shown ? new Uint32Array(bytes.buffer)[0] : 0;
  }

  setOpacity() {
    this.paint.style.opacity = this.opacity.value / 100;
  }

  /** The picture as it is shown, in the photograph's size; null where the browser cannot. */
  async picture() {
    const {width, height} = this.found;
    const [whole, paint] = [document.createElement('canvas'), document.createElement('canvas')];
    for (const canvas of [whole, paint]) Object.assign(canvas, {width, height});
    try {
      this.paintClasses(paint);
      const context = whole.getContext('2d');
      context.drawImage(this.bitmap, 0, 0, width, height);
      context.globalAlpha = this.opacity.value / 100;
      context.drawImage(paint, 0, 0);
      return await new Promise((resolve) => whole.toBlob(resolve));
    } catch {
      return null;
    }
  }

  point({clientX, clientY}) {
    const box = this.area.getBoundingClientRect();
    this.nameAt((clientX - box.left) / box.width, (clientY - box.top) / box.height);
    this.marker.hidden = true; // the pointer shows the place
  }

  press(event) {
    const move = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (event.key === 'Escape') this.leave();
    if (!move || !this.found) return;
    event.preventDefault();
    const [x, y] = this.place ?? [0.5, 0.5];
    const next = [x + STEP * move[0], y + STEP * move[1]].map((value) => Math.min(Math.max(value, 0), 1));
    this.marker.hidden = false;
    this.nameAt(...next);
  }

  /** Name the class at a place, and mark it in the list. */
  nameAt(x, y) {
    if (!this.found) return;
    const {ids, width, height} = this.found;
    const index = (side, part) => Math.min(Math.max(Math.floor(part * side), 0), side - 1);
    const id = ids[index(height, y) * width + index(width, x)];
    this.place = [x, y];
    if (this.tag.textContent !== this.classes[id]) this.tag.textContent = this.classes[id];
    this.tag.hidden = false;
    this.marker.style.left = `${100 * x}%`;
    this.marker.style.top = `${100 * y}%`;
    // Beside the place, on the side that has room.
    this.tag.style.left = x < 0.6 ? `calc(${100 * x}% + 14px)` : '';
    this.tag.style.right = x < 0.6 ? '' : `calc(${100 * (1 - x)}% + 14px)`;
    this.tag.style.top = `calc(${100 * y}% ${y < 0.85 ? '+ 10px' : '- 36px'})`;
    for (const item of element('classes').children) {
      item.classList.toggle('here', Number(item.dataset.id) === id);
    }
  }

  leave() {
    this.place = null;
    this.tag.hidden = true;
    this.marker.hidden = true;
    for (const item of element('classes').children) item.classList.remove('here');
  }
}

function percent(share) {
  return share.toLocaleString(currentLanguage(), {style: 'percent', maximumFractionDigits: 1});
}
