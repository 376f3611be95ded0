import { BarChart, HeatmapChart, LineChart, ScatterChart } from 'echarts/charts';
import { GridComponent, TooltipComponent } from 'echarts/components';
import { type EChartsCoreOption, type EChartsType, init, use } from 'echarts/core';
import { CanvasRenderer, SVGRenderer } from 'echarts/renderers';
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
  #width = 0;
  #isChanged = false;

  /**
   * @param host - an element of its own, as wide as the chart may be; has `role="img"`
   * @param renderer - `canvas` for thousands of marks, else `svg`
   */
  constructor(host: HTMLElement, renderer: 'svg' | 'canvas', draw: (surface: Surface) => Picture) {
    this.#host = host;
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
    drawAll();
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
  matchMedia('print').addEventListener('change', ({ matches }) => print(matches));
  // Printing from the menu sends this first, while the page still has its screen's layout.
  addEventListener('beforeprint', () => print(true));
  addEventListener('afterprint', () => print(false));
}
