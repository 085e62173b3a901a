import { COLOURS, escaped, svg, type Theme } from "./svg.ts";

type Step = { name: string; says: string; file: string; refuses?: string };

/** The steps of src/app.ts, in their order. */
const STEPS: Step[] = [
  {
    name: "turn away",
    says: "tenants already over their limit",
    file: "src/edge/turn-away.ts",
    refuses: "429",
  },
  { name: "gateway", says: "request id, CORS, deadline", file: "src/edge/gateway.ts" },
  {
    name: "identify",
    says: "the JWT or API key, by local keys",
    file: "src/edge/identify.ts",
    refuses: "401",
  },
  { name: "admit", says: "credential, status and limits", file: "src/edge/admit.ts", refuses: "401 403 429" },
  { name: "handle", says: "your route and its queries", file: "src/routes", refuses: "404 409 422" },
];
const OUTSIDE: Record<string, [string, string]> = {
  admit: ["the tenant's Durable Object", "one call"],
  handle: ["Neon Postgres", "one transaction, signed context"],
};

const [WIDTH, TOP, HEIGHT, GAP, LEFT, BOX] = [880, 56, 46, 14, 150, 330];
const FONT = `font-family="ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"`;
const MONO = `font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"`;

/** The way of a request through the Worker, and where it can end. */
export function requestPicture(theme: Theme): string {
  const { back, panel, line, text, soft, accent, stop } = COLOURS[theme];
  const label = (x: number, y: number, words: string, colour: string, more = "") =>
    `<text x="${x}" y="${y}" fill="${colour}" ${more}>${escaped(words)}</text>`;
  const arrow = (x1: number, y1: number, x2: number, y2: number, colour: string) =>
    `<path d="M${x1} ${y1}L${x2} ${y2}" stroke="${colour}" stroke-width="1.5" marker-end="url(#${colour === stop ? "stop" : "on"})"/>`;
  const head = (id: string, colour: string) =>
    `<marker id="${id}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="${colour}"/></marker>`;

  const steps = STEPS.map(({ name, says, file, refuses }, index) => {
    const y = TOP + index * (HEIGHT + GAP);
    const middle = y + HEIGHT / 2;
    const outside = OUTSIDE[name];
    return [
      arrow(LEFT + BOX / 2, y - GAP, LEFT + BOX / 2, y, line),
      `<rect x="${LEFT}" y="${y}" width="${BOX}" height="${HEIGHT}" rx="8" fill="${panel}" stroke="${line}"/>`,
      label(LEFT + 14, y + 20, name, accent, `font-weight="600"`),
      label(LEFT + 96, y + 20, says, text),
      label(LEFT + 96, y + 37, file, soft, `font-size="11" ${MONO}`),
      ...(refuses
        ? [
            arrow(LEFT, middle, LEFT - 28, middle, stop),
            label(LEFT - 34, middle + 5, refuses, stop, `text-anchor="end"`),
          ]
        : []),
      ...(outside
        ? [
            arrow(LEFT + BOX, middle - 5, LEFT + BOX + 58, middle - 5, line),
            arrow(LEFT + BOX + 58, middle + 7, LEFT + BOX, middle + 7, line),
            `<rect x="${LEFT + BOX + 58}" y="${y}" width="300" height="${HEIGHT}" rx="22" fill="none" stroke="${line}" stroke-dasharray="4 3"/>`,
            label(LEFT + BOX + 78, y + 20, outside[0], text, `font-weight="600"`),
            label(LEFT + BOX + 78, y + 37, outside[1], soft, `font-size="12"`),
          ]
        : []),
    ].join("\n");
  });
  const end = TOP + STEPS.length * (HEIGHT + GAP);
  const body = `<defs>${head("on", line)}${head("stop", stop)}</defs>
<rect width="100%" height="100%" fill="${back}"/>
<g ${FONT} font-size="14">
${label(LEFT + BOX / 2, 30, "request, anywhere in the world", text, `text-anchor="middle"`)}
${steps.join("\n")}
${arrow(LEFT + BOX / 2, end - GAP, LEFT + BOX / 2, end + 8, line)}
${label(LEFT + BOX / 2, end + 28, "answer, with its RateLimit headers", text, `text-anchor="middle"`)}
</g>`;
  const title = `The way of a request: ${STEPS.map(({ name, says }) => `${name} (${says})`).join(", ")}.`;
  return svg(WIDTH, end + 44, title, body);
}
