// The page: takes photographs, hands them to the worker, and shows what that finds.

import {currentLanguage, say, switchLanguage} from './texts.js';
import {View} from './view.js';

const element = (id) => document.getElementById(id);
const status = element('status');
const progress = element('progress');
const mask = element('mask');

let worker;
let view;
let ready = false;
let next = null; // the photograph that waits for the network
let number = 0; // of the latest photograph; answers about others come too late
let name = '';
let tell = () => {}; // says again what the status says, in another language

element('served').remove();
translate();
begin();

async function begin() {
  try {
    const response = await fetch('about.json', {cache: 'no-cache'});
    if (!response.ok) throw new Error(`about.json: HTTP ${response.status}`);
    const about = await response.json();
    view = new View(about);
    translate();
    // Threads share memory, which browsers allow to isolated pages only.
    const cores = Math.min(navigator.hardwareConcurrency ?? 1, 8);
    startWorker(about, self.crossOriginIsolated ? cores : 1);
  } catch (error) {
    inform('notLoaded', {reason: error.message}, true);
  }
}

function startWorker(about, threads) {
  worker = new Worker('worker.js', {type: 'module'});
  worker.onmessage = ({data: {event, ...values}}) => EVENTS[event](values);
  worker.onerror = (error) => {
    error.preventDefault();
    EVENTS.error({action: 'start', key: 'failed', details: {reason: error.message ?? 'worker.js'}});
  };
  worker.postMessage({action: 'start', about, threads});
  document.documentElement.dataset.threads = threads;

  EVENTS.retry = threads === 1 ? null : () => {
    worker.terminate();
    startWorker(about, 1);
  };
}

const EVENTS = {
  loading({done, all}) {
    progress.hidden = false;
    progress.value = done / all;
    const mega = (bytes) => (bytes / 1e6).toFixed(1);
    if (next === null) inform('loading', {done: mega(done), all: mega(all)});
  },
  starting() {
    progress.removeAttribute('value');
    if (next === null) inform('starting');
  },
  ready() {
    ready = true;
    progress.hidden = true;
    if (next === null) inform('ready');
    else send(next);
  },
  async segmented({number: answered, mask: png, seconds, ...found}) {
    if (answered !== number) return;
    progress.hidden = true;
    try {
      await view.show(found);
    } catch {
      inform('undecodable', {file: name}, true);
      return;
    }
    if (answered !== number) return;
    offer(png);
    element('result').hidden = false;
    document.body.classList.add('shown');
    inform('found', () => ({
      file: name, width: found.width, height: found.height, seconds: seconds.toFixed(2),
      classes: view.summary(),
    }));
  },
  error({action, key, details, number: answered}) {
    if (action === 'start') {
      if (EVENTS.retry) EVENTS.retry();
      else inform('notLoaded', details, true);
      if (!EVENTS.retry) progress.hidden = true;
    } else if (answered === number) {
      progress.hidden = true;
      inform(key, {file: name, ...details}, true);
    }
  },
};

/** Take a photograph, however it was given. */
function take(file) {
  if (!file) {
    inform('noImage', {}, true);
    return;
  }
  number++;
  name = file.name || 'image';
  withdraw();
  if (ready) {
    send(file);
  } else {
    next = file;
    inform('waiting', {file: name});
  }
}

async function send(file) {
  next = null;
  inform('working', {file: name});
  progress.removeAttribute('value');
  progress.hidden = false;
  worker.postMessage({action: 'segment', number, file});
  view.load(file);
}

/** Say something; ``values`` may be a function, called again for another language. */
function inform(key, values = {}, wrong = false) {
  tell = () => {
    status.textContent = say(key, typeof values === 'function' ? values() : values);
    status.classList.toggle('wrong', wrong);
  };
  tell();
}

function offer(png) {
  mask.download = `${stem()}-mask.png`;
  mask.href = URL.createObjectURL(png);
}

/** Nothing of the last photograph may be taken for a result of this one. */
function withdraw() {
  if (mask.href) URL.revokeObjectURL(mask.href);
  mask.removeAttribute('href');
  element('result').hidden = true;
}

function stem() {
  return name.replace(/\.[^.]*$/, '') || 'image';
}

function translate() {
  document.documentElement.lang = currentLanguage() === 'zh' ? 'zh-CN' : 'en';
  document.title = say('title');
  const first = view?.classes[0] ?? '';
  for (const item of document.querySelectorAll('[data-text]')) {
    item.textContent = say(item.dataset.text, {first});
  }
  const [other, tag] = currentLanguage() === 'en' ? ['中文', 'zh'] : ['English', 'en'];
  element('language').textContent = other;
  element('language').lang = tag;
  element('picture').ariaLabel = say('picture');
  view?.translate();
  tell();
}

element('language').onclick = () => {
  switchLanguage();
  translate();
};

element('photo').onchange = ({target}) => {
  take(target.files[0]);
  target.value = ''; // the same file again is a change, too
};

// Chosen before this script ran, or kept by the browser over a reload.
if (element('photo').files.length) take(element('photo').files[0]);

document.addEventListener('paste', ({clipboardData}) => {
  if (clipboardData.files.length) take(clipboardData.files[0]);
});

const drop = element('drop');
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  drop.classList.add('over');
});
document.addEventListener('dragleave', ({relatedTarget}) => {
  if (!relatedTarget) drop.classList.remove('over');
});
document.addEventListener('drop', (event) => {
  event.preventDefault();
  drop.classList.remove('over');
  take(event.dataTransfer.files[0]);
});

element('overlay').onclick = async () => {
  const blob = await view.picture();
  if (!blob) {
    inform('noOverlay', {}, true);
    return;
  }
  const link = document.createElement('a');
  link.download = `${stem()}-overlay.png`;
  link.href = URL.createObjectURL(blob);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
};
