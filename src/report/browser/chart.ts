import { BarChart, HeatmapChart, LineChart, ScatterChart } from 'echarts/charts';
import { GridComponent, TooltipComponent } from 'echarts/components';
import { type EChartsCoreOption, type EChartsType, init, use } from 'echarts/core';
import { CanvasRenderer, SVGRenderer } from 'echarts/renderers';
import { element } from './element.ts';
import { readTheme, type Theme } from './theme.ts';

/** Where a chart is drawn, and in what. */
export interface Surface {
  readonly width: number;
  readonly theme: Theme;
}

/** A picture and its text. */
export interface Picture {
  /** ECharts option; its shape depends on the series and is checked where it is written. */
  readonly option: EChartsCoreOption;
  readonly height: number;
  /** What the picture shows, for those who do not see it. */
  readonly text: string;
}

/** Registers the parts of ECharts that the page uses; the others are not in the bundle. */
export function registerCharts(): void {
  use([LineChart, BarChart, ScatterChart, HeatmapChart]);
  use([GridComponent, TooltipComponent, SVGRenderer, CanvasRenderer]);
}

/** All charts of the page. */
const charts: Chart[] = [];

/** One chart: drawn again when its width, the colours, or what it shows change. */
export class Chart {
  readonly #host: HTMLElement;
  readonly #chart: EChartsType;
  readonly #draw: (surface: Surface) => Picture;
  readonly #renderer: 'svg' | 'canvas';
  #width = 0;
  #isChanged = false;

  /**
   * @param host - an element of its own, as wide as the chart may be; has `role="img"`
   * @param renderer - `canvas` for thousands of marks, else `svg`
   */
  constructor(host: HTMLElement, renderer: 'svg' | 'canvas', draw: (surface: Surface) => Picture) {
    this.#host = host;
    this.#renderer = renderer;
    this.#draw = draw;
    // On a canvas, twice the pixels keep cells and letters sharp on paper.
    const devicePixelRatio = Math.max(2, window.devicePixelRatio);
    this.#chart = init(host, null, { renderer, devicePixelRatio, width: 300, height: 200 });
    charts.push(this);
    new ResizeObserver(() => {
      if (widthOf(host) !== this.#width) this.draw();
    }).observe(host);
    this.draw();
  }

  /** Draws with the next frame, once for all changes before it. */
  change(): void {
    if (this.#isChanged) return;
    this.#isChanged = true;
    requestAnimationFrame(() => this.draw());
  }

  draw(): void {
    this.#isChanged = false;
    this.#width = widthOf(this.#host);
    const picture = this.#draw({ width: this.#width, theme: readTheme() });
    this.#chart.resize({ width: this.#width, height: picture.height });
    this.#chart.setOption({ animation: false, ...picture.option }, { notMerge: true });
    this.#host.setAttribute('aria-label', picture.text);
  }

  /**
   * Draws for paper, or for the screen again. Of a canvas in layers, as charts are drawn on, Chromium prints
   * the last layer alone: on paper one canvas stands for them.
   */
  print(onPaper: boolean): void {
    this.draw();
    if (this.#renderer === 'svg') return;
    this.#host.querySelector(':scope > .printed')?.remove();
    if (!onPaper) return;
    const canvas = this.canvas();
    canvas.removeAttribute('style');
    canvas.className = 'printed';
    this.#host.append(canvas);
  }

  /** What is drawn now, on a canvas of its own with twice the pixels. */
  canvas(): HTMLCanvasElement {
    const theme = readTheme();
    const { height, option } = this.#draw({ width: this.#width, theme });
    const size = { width: this.#width, height };
    const copy = init(document.createElement('div'), null, {
      renderer: 'canvas',
      devicePixelRatio: 1,
      ...size,
    });
    copy.setOption({ animation: false, ...option });
    const canvas = copy.renderToCanvas({ pixelRatio: 2, backgroundColor: theme.surface });
    // What takes long is painted over several frames. One that came after the end would find nothing there:
    // painting anew, and nothing, calls them off.
    copy.clear();
    copy.getZr().refreshImmediately();
    copy.dispose();
    return canvas;
  }

  /**
   * Calls `listener` with the ends of a drag inside the first grid, in the units of its x axis, in the order
   * of the drag. Meanwhile a band shows it.
   */
  onDrag(listener: (from: number, to: number) => void): void {
    const band = element('div', { class: 'band', hidden: '' });
    this.#host.append(band);
    const zr = this.#chart.getZr();
    let drag: Drag | undefined;
    zr.on('mousedown', ({ offsetX, offsetY }) => {
      if (this.#chart.containPixel({ gridIndex: 0 }, [offsetX, offsetY]))
        drag = { start: offsetX, end: offsetX };
    });
    zr.on('mousemove', ({ offsetX, offsetY }) => {
      if (drag === undefined || !this.#chart.containPixel({ gridIndex: 0 }, [offsetX, offsetY])) return;
      drag = { ...drag, end: offsetX };
      band.hidden = !isDrag(drag);
      band.style.left = `${Math.min(drag.start, drag.end)}px`;
      band.style.width = `${Math.abs(drag.end - drag.start)}px`;
    });
    // Also where the button is let go outside of the chart.
    addEventListener('mouseup', () => {
      const done = drag;
      drag = undefined;
      band.hidden = true;
      if (done === undefined || !isDrag(done)) return;
      const at = (x: number) =>
        (this.#chart.convertFromPixel({ gridIndex: 0 }, [x, 0]) as [number, number])[0];
      listener(at(done.start), at(done.end));
    });
  }

  onDoubleClick(listener: () => void): void {
    this.#chart.getZr().on('dblclick', listener);
  }

  /** Calls `listener` with where a click was in the units of the grid's axes, for clicks inside the grid. */
  onClick(grid: number, listener: (x: number, y: number) => void): void {
    this.#chart.getZr().on('click', ({ offsetX, offsetY }) => {
      const pixel = [offsetX, offsetY];
      if (!this.#chart.containPixel({ gridIndex: grid }, pixel)) return;
      const [x, y] = this.#chart.convertFromPixel({ gridIndex: grid }, pixel) as [number, number];
      listener(x, y);
    });
  }
}

/** From where to where a mouse was dragged, in pixels of a chart. */
interface Drag {
  readonly start: number;
  readonly end: number;
}

/** A few pixels are still a click. */
function isDrag({ start, end }: Drag): boolean {
  return Math.abs(end - start) > 4;
}

/** Whole pixels, and enough to draw in where the host is not laid out. */
function widthOf(host: HTMLElement): number {
  return Math.max(200, Math.floor(host.clientWidth));
}

/**
 * Draws all charts again when light turns to dark, and in light and as wide as paper for print.
 *
 * @param recolour - called before, for what else is coloured
 */
export function followMedia(recolour: () => void): void {
  const drawAll = () => {
    recolour();
    for (const chart of charts) chart.draw();
  };
  const print = (paper: boolean) => {
    document.documentElement.classList.toggle('paper', paper);
    recolour();
    for (const chart of charts) chart.print(paper);
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
  matchMedia('print').addEventListener('change', ({ matches }) => print(matches));
  // Printing from the menu sends this first, while the page still has its screen's layout.
  addEventListener('beforeprint', () => print(true));
  addEventListener('afterprint', () => print(false));
}
