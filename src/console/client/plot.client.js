import { h } from "./elements.client.js";
import { brief, spanOf, tickOf } from "./figures.client.js";
import { table } from "./list.client.js";

// Bars over time, drawn by uPlot on a canvas. The same figures are in a table below, and the arrow keys go through them.

/**
 * What is plotted: `parts` lie on each other, the first one at the bottom. `colour` is a property of the stylesheet's.
 * @typedef {{ name: string, colour: string, hatched?: boolean, values: number[] }} Part
 * @typedef {{ title: string, granularity: "day" | "hour", starts: string[], parts: Part[], show: (value: number) => string }} Plot
 * @typedef {import("uplot")} Drawn
 */

const HEIGHT = 240;
const LENGTH_S = { day: 86_400, hour: 3600 };
/** How much room the name of a day or hour takes. */
const TICK_PX = 72;
const FONT = "12px system-ui, sans-serif";
// By its path, for it has no part in the types: uPlot's own are those of the package.
const UPLOT = "./uplot.js";

/** @returns {Promise<typeof import("uplot")>} */
const load = async () => (await import(UPLOT)).default;

/** Every so many of them. @param {readonly number[]} all @param {number} step */
const every = (all, step) => all.filter((_, index) => index % Math.max(step, 1) === 0);

/** A colour of the stylesheet, as it is now: light or dark. @param {string} name */
const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A bar's fill. What is hatched can be told from the rest without its colour. @param {Part} part */
function fillOf({ colour, hatched = false }) {
  if (!hatched) return colourOf(colour);
  const size = 6 * devicePixelRatio;
  const tile = h("canvas", { width: size, height: size });
  const pen = tile.getContext("2d");
  if (!pen) return colourOf(colour);
  pen.strokeStyle = colourOf(colour);
  pen.lineWidth = size / 2.6;
  pen.beginPath();
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift, size);
    pen.lineTo(shift + size, 0);
  }
  pen.stroke();
  return pen.createPattern(tile, "repeat") ?? colourOf(colour);
}

/** A figure with a plot, what its parts mean, and a table of the same. @param {Plot} asked */
export function plot(asked) {
  const { title, granularity, starts, parts, show } = asked;
  const [place, tip] = [
    h("div", { class: "drawing" }),
    h("p", { class: "tip", role: "status", hidden: true }),
  ];
  const area = h(
    "div",
    {
      class: "plot",
      role: "group",
      tabindex: 0,
      "aria-label": `${title}: left and right arrow keys go through the ${granularity}s`,
    },
    place,
    tip,
  );
  draw(asked, area, place, tip).catch((error) => {
    console.error(error);
    area.replaceChildren("The plot could not be drawn. The table has its figures.");
  });
  const rows = starts.map((start, index) => ({ start, index })).toReversed();
  return h(
    "figure",
    {},
    h("figcaption", {}, h("b", {}, title), legend(parts)),
    area,
    h(
      "details",
      {},
      h("summary", {}, "As a table"),
      h(
        "div",
        { class: "scrolled", tabindex: 0, role: "region", "aria-label": `${title}, as a table` },
        table(
          title,
          [
            {
              name: granularity === "hour" ? "Hour" : "Day",
              show: (/** @type {{ start: string, index: number }} */ row) => spanOf(row.start, granularity),
            },
            ...parts.map(({ name, values }) => ({
              name,
              figure: true,
              show: (/** @type {{ start: string, index: number }} */ row) => show(values[row.index] ?? 0),
            })),
          ],
          rows,
        ),
      ),
    ),
  );
}

/** @param {readonly Part[]} parts */
const legend = (parts) =>
  parts.length === 1
    ? null
    : h(
        "ul",
        { class: "legend" },
        ...parts.map(({ name, colour, hatched }) =>
          h(
            "li",
            {},
            h("span", {
              class: "swatch",
              "data-colour": colour,
              "data-hatched": hatched,
              "aria-hidden": "true",
            }),
            name,
          ),
        ),
      );

/** @param {Plot} asked @param {HTMLElement} area @param {HTMLElement} place @param {HTMLElement} tip */
async function draw({ granularity, starts, parts, show }, area, place, tip) {
  const UPlot = await load();
  const length = LENGTH_S[granularity];
  // A bar stands in the middle of what it is about.
  const at = starts.map((start) => Date.parse(start) / 1000 + length / 2);
  // Each part's bars reach from zero to the top of the stack, and the lower parts are drawn over them.
  const tops = parts.map((_, part) =>
    starts.map((__, index) =>
      parts.slice(0, part + 1).reduce((sum, { values }) => sum + (values[index] ?? 0), 0),
    ),
  );
  const bars = UPlot.paths.bars?.({ size: [0.72, 48] });
  const axis = {
    stroke: () => colourOf("--faint"),
    font: FONT,
    grid: { stroke: () => colourOf("--line"), width: 1 },
    ticks: { show: false },
  };
  const plotted = new UPlot(
    {
      width: Math.max(place.clientWidth, 200),
      height: HEIGHT,
      tzDate: (seconds) => UPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false, setScale: false }, points: { show: false } },
      scales: {
        x: { range: () => [(at[0] ?? 0) - length / 2, (at.at(-1) ?? 0) + length / 2] },
        y: { range: (_, __, most) => [0, Math.max(1, most * 1.08)] },
      },
      axes: [
        {
          ...axis,
          grid: { show: false },
          size: 32,
          splits: ({ width }) => every(at, Math.ceil((at.length * TICK_PX) / width)),
          values: (_, ticks) =>
            ticks.map((tick) => tickOf(new Date((tick - length / 2) * 1000), granularity)),
        },
        {
          ...axis,
          size: 52,
          values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? brief(tick) : "")),
        },
      ],
      series: [
        {},
        ...parts.toReversed().map((part) => ({
          label: part.name,
          fill: () => fillOf(part),
          width: 0,
          points: { show: false },
          ...(bars && { paths: bars }),
        })),
      ],
      hooks: { setCursor: [(drawn) => point(drawn, drawn.cursor.idx ?? undefined)] },
    },
    [at, ...tops.toReversed()],
    place,
  );

  /** Says what is at one of the points, beside it. @param {Drawn} drawn @param {number | undefined} index */
  function point(drawn, index) {
    const start = index === undefined ? undefined : starts[index];
    tip.hidden = start === undefined;
    if (index === undefined || start === undefined) return;
    const lines = parts.map(({ name, values }) =>
      h("span", {}, `${name} `, h("b", {}, show(values[index] ?? 0))),
    );
    tip.replaceChildren(h("span", {}, spanOf(start, granularity)), ...lines);
    const middle = drawn.valToPos(at[index] ?? 0, "x") + drawn.bbox.left / devicePixelRatio;
    const half = tip.offsetWidth / 2;
    tip.style.left = `${Math.min(Math.max(middle, half), area.clientWidth - half)}px`;
  }

  let chosen = starts.length;
  area.addEventListener("keydown", ({ key }) => {
    const step = key === "ArrowLeft" ? -1 : key === "ArrowRight" ? 1 : 0;
    if (step === 0) return;
    chosen = Math.min(Math.max(chosen + step, 0), starts.length - 1);
    plotted.setCursor({ left: plotted.valToPos(at[chosen] ?? 0, "x"), top: 0 }, false);
    point(plotted, chosen);
  });
  area.addEventListener("blur", () => {
    tip.hidden = true;
  });
  const isDark = matchMedia("(prefers-color-scheme: dark)");
  const repaint = () => plotted.redraw();
  isDark.addEventListener("change", repaint);
  const resized = new ResizeObserver(() => {
    if (place.isConnected) return plotted.setSize({ width: place.clientWidth, height: HEIGHT });
    resized.disconnect();
    isDark.removeEventListener("change", repaint);
    plotted.destroy();
  });
  resized.observe(place);
}
