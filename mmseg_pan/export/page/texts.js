// What the page says, in English and Chinese. {braces} are filled in by say().

export const TEXTS = {
  en: {
    title: 'Segment a photograph',
    choose: 'Choose a photograph',
    dropOrPaste: 'or drop it here, or paste it',
    private: 'It stays on this device: nothing is uploaded.',
    loading: 'Loading the network: {done} of {all} MB',
    starting: 'Starting the network…',
    ready: 'Ready.',
    waiting: '{file} is next, when the network is loaded.',
    working: 'Segmenting {file}…',
    found: '{file}, {width} × {height} pixels, in {seconds} s: {classes}.',
    keys: 'Point at the picture to see the class there; with the keyboard, focus it and use the arrow keys.',
    picture: 'Photograph with its classes in colour',
    opacity: 'Opacity of the classes',
    classes: 'Classes and their shares',
    mask: 'Download mask',
    overlay: 'Download overlay',
    maskIs: 'The mask is a PNG of class ids, of the size of the photograph; 0 is {first}.',
    show: 'Show {name}',
    notLoaded: 'The network could not be loaded ({reason}). Reload the page to try again.',
    undecodable: '{file} is not an image that this browser can read; save it as JPEG or PNG.',
    tooLarge: '{file} has {width} × {height} pixels for the network, and this page takes {longest} on the longer side at most; make it smaller.',
    failed: '{file} could not be segmented ({reason}). A smaller photograph may work.',
    noImage: 'What you gave is not a file; choose a photograph.',
    noOverlay: 'This browser cannot make a picture of that size; download the mask.',
  },
  zh: {
    title: '图像语义分割',
    choose: '选择照片',
    dropOrPaste: '或拖放到此处，或直接粘贴',
    private: '照片不会离开本设备，不会上传。',
    loading: '正在加载网络：{done} / {all} MB',
    starting: '正在启动网络…',
    ready: '已就绪。',
    waiting: '网络加载完成后将处理 {file}。',
    working: '正在分割 {file}…',
    found: '{file}，{width} × {height} 像素，用时 {seconds} 秒：{classes}。',
    keys: '将指针移到图上可查看该处的类别；使用键盘时，先聚焦图片，再按方向键。',
    picture: '叠加了类别颜色的照片',
    opacity: '类别的不透明度',
    classes: '类别及占比',
    mask: '下载掩码',
    overlay: '下载叠加图',
    maskIs: '掩码是与照片同样大小的 PNG，像素值为类别编号；0 表示 {first}。',
    show: '显示 {name}',
    notLoaded: '网络加载失败（{reason}）。请刷新页面重试。',
    undecodable: '此浏览器无法读取 {file}；请另存为 JPEG 或 PNG。',
    tooLarge: '{file} 输入网络时为 {width} × {height} 像素，而本页面的长边上限为 {longest}；请缩小照片。',
    failed: '{file} 分割失败（{reason}）。可以换一张较小的照片试试。',
    noImage: '收到的不是文件；请选择一张照片。',
    noOverlay: '此浏览器无法生成这么大的图片；请下载掩码。',
  },
};

const REMEMBERED = 'mmseg_pan.language';
let language = pickLanguage();

/** The text of a key in the language of the page. */
export function say(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

export function currentLanguage() {
  return language;
}

/** Change to the other language, and remember it where the browser allows that. */
export function switchLanguage() {
  language = language === 'en' ? 'zh' : 'en';
  try {
    localStorage.setItem(REMEMBERED, language);
  } catch { /* storage may be forbidden */ }
}

function pickLanguage() {
  let wanted = [...navigator.languages];
  try {
    wanted.unshift(localStorage.getItem(REMEMBERED));
  } catch { /* storage may be forbidden */ }
  wanted = wanted.map((tag) => String(tag).slice(0, 2).toLowerCase());
  return wanted.find((tag) => tag in TEXTS) ?? 'en';
}
