// Makes each gallery of the page a viewer: two pictures in one place, a divider between them, a slider over the rates.
// Everything it shows is in the gallery; it asks nothing of any network, and without it the gallery is the page.
'use strict';
for (const viewer of document.querySelectorAll('.viewer')) {
  const one = (selector) => viewer.querySelector(selector);
  const scene = one('.pick-scene'), rate = one('.pick-rate'), layer = one('.pick-layer'), left = one('.pick-left');
  const wipe = one('.pick-wipe'), stage = one('.stage'), said = one('.said');
  if (!one('.controls input[type=radio]')) continue;  // nothing but originals
  const codec = () => one('.controls input[type=radio]:checked').value;
  const shots = (name) => [...viewer.querySelectorAll(`.scene[data-scene="${scene.value}"] figure`)]
    .filter((figure) => figure.dataset.codec === name)
    .sort((a, b) => a.dataset.rate - b.dataset.rate);
  const nearest = (figures, bpp) => figures.reduce((best, figure) =>
    Math.abs(Math.log(figure.dataset.rate / bpp)) < Math.abs(Math.log(best.dataset.rate / bpp)) ? figure : best);
  let wanted = 0;  // bits per pixel that the reader chose: another codec or picture opens at the rate next to it

  function put(side, figure, original) {
    const place = one(`.side.${side}`);
    if (place.shown !== figure) {
      place.shown = figure;
      place.replaceChildren(figure.querySelector('.frame').cloneNode(true));
      if (figure !== original)  // labels are of the picture, whatever codec it went through
        for (const labels of original.querySelectorAll('.layer[data-layer^=labels]'))
          place.firstChild.append(labels.cloneNode(true));
    }
    for (const drawn of place.querySelectorAll('.layer')) drawn.hidden = drawn.dataset.layer !== layer.value;
    one(`.tag-${side}`).textContent = figure.dataset.title;
  }

  function show() {
    const figures = shots(codec()), original = shots('original')[0];
    rate.max = figures.length - 1;
    rate.disabled = figures.length < 2;
    const right = figures[rate.value];
    put('right', right, original);
    const other = left.value === 'original' ? original : nearest(shots(left.value), right.dataset.rate);
    put('left', other, original);
    one('output.rate').textContent = `${Number(right.dataset.rate).toFixed(3)} bpp`;
    rate.setAttribute('aria-valuetext', right.dataset.title + ', ' + right.dataset.note);
    said.replaceChildren();
    for (const figure of left.value === 'original' ? [right] : [other, right]) {
      const line = document.createElement('span'), name = document.createElement('b');
      name.textContent = figure.dataset.title;
      line.append(name, ' ' + figure.dataset.note);
      said.append(line);
    }
    stage.style.setProperty('--ratio', getComputedStyle(right.querySelector('.frame')).aspectRatio);
  }

  function reopen() {
    const figures = shots(codec());
    rate.max = figures.length - 1;  // first, for a slider cuts its value to its range
    rate.value = figures.indexOf(nearest(figures, wanted));
    show();
  }

  function divide() { stage.style.setProperty('--wipe', `${wipe.value}%`); }

  function drag(event) {
    if (event.buttons !== 1) return;
    const box = stage.getBoundingClientRect();
    wipe.value = 100 * (event.clientX - box.left) / box.width;
    divide();
  }

  rate.addEventListener('input', () => { wanted = shots(codec())[rate.value].dataset.rate; show(); });
  for (const input of viewer.querySelectorAll('.controls input[type=radio]')) input.addEventListener('change', reopen);
  scene.addEventListener('change', reopen);
  layer.addEventListener('change', show);
  left.addEventListener('change', show);
  wipe.addEventListener('input', divide);
  stage.addEventListener('pointerdown', (event) => {
    if (event.button === 0) stage.setPointerCapture(event.pointerId);
    drag(event);
  });
  stage.addEventListener('pointermove', drag);

  const figures = shots(codec());
  wanted = figures[Math.floor((figures.length - 1) / 2)].dataset.rate;
  for (const hidden of viewer.querySelectorAll(':scope > [hidden]')) hidden.hidden = false;
  one('.gallery').open = false;
  divide();
  reopen();
}
