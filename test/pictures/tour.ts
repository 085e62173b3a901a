import { execFileSync } from "node:child_process";
import { COLOURS, escaped, svg, type Theme } from "./svg.ts";

/** What is typed, and what it has printed. */
export type Scene = { says: string; command: string; output: string[] };

const JSON_BODY = `-H 'content-type: application/json'`;
/** The tour of `npm run dev`, as short as it can be typed. $API is where it is, $ADA and $BOB are its two tenants' tokens. */
const COMMANDS: [says: string, command: string][] = [
  [
    "acme makes a project",
    `curl $API/v1/projects -H "authorization: Bearer $ADA" ${JSON_BODY} -d '{"name":"Roof"}'`,
  ],
  [
    "globex asks for it, and gets the 404 of a project that does not exist",
    `curl $API/v1/projects/$PROJECT -H "authorization: Bearer $BOB"`,
  ],
  [
    "25 requests at once on a plan of 20 a second: exactly 20 pass",
    `curl -Z -o /dev/null -w '%{http_code}\\n' "$API/v1/projects?limit=[1-25]" -H "authorization: Bearer $BOB" | sort | uniq -c`,
  ],
  [
    "acme has grown: it moves to a schema of its own while it works, and the same token reads the same rows",
    "npm run tenants -- move acme --to own-schema --yes",
  ],
  ["", `curl $API/v1/tenant -H "authorization: Bearer $ADA"`],
];

const [WIDTH, ROW, PADDING, LONGEST] = [880, 19, 18, 100];

/** Does the tour with `npm run dev` at this address, in this folder, and returns what was printed. */
export function record(api: string, root: string): Scene[] {
  const env: Record<string, string | undefined> = { ...process.env, API: api };
  const run = (command: string) =>
    execFileSync("sh", ["-c", command.replaceAll(/^curl /g, "curl -s --no-progress-meter ")], {
      cwd: root,
      env,
      encoding: "utf8",
    });
  const signIn = (email: string) =>
    (
      JSON.parse(
        run(
          `curl $API/v1/sessions ${JSON_BODY} -d '{"email":"${email}","password":"correct horse battery staple"}'`,
        ),
      ) as { access_token: string }
    ).access_token;
  env["ADA"] = signIn("ada@acme.test");
  env["BOB"] = signIn("bob@globex.test");
  return COMMANDS.map(([says, command]) => {
    // The request before counts as well.
    if (command.includes("-Z")) run("sleep 1");
    const printed = run(command);
    if (command.includes("-Z") && !/\b20 200\b/.test(printed))
      throw new Error(`Other than 20 have passed: ${printed}`);
    env["PROJECT"] ??= /"id":"([^"]+)"/.exec(printed)?.[1];
    const lines = printed.split("\n").filter((line) => line !== "" && !/^(>|·)/.test(line));
    return { says, command, output: lines.flatMap(broken) };
  });
}

/** A line in pieces that fit into the picture: at most two, the rest is left out. */
function broken(line: string): string[] {
  if (line.length <= LONGEST) return [line];
  const rest = line.slice(LONGEST);
  return [line.slice(0, LONGEST), rest.length > LONGEST ? `${rest.slice(0, LONGEST - 1)}…` : rest];
}

type Line = { text: string; kind: "says" | "command" | "output" };
const linesOf = ({ says, command, output }: Scene): Line[] => [
  ...(says ? [{ text: `# ${says}`, kind: "says" as const }] : []),
  ...broken(`$ ${command}`).map((text) => ({ text, kind: "command" as const })),
  ...output.map((text) => ({ text, kind: "output" as const })),
];

/** A terminal in which the tour goes by, line after line; whoever wants no motion sees the whole of it. */
export function tourPicture(scenes: readonly Scene[], theme: Theme): string {
  const { back, panel, line, text, soft, accent } = COLOURS[theme];
  const colours = { says: soft, command: accent, output: text };
  const lines = scenes.flatMap((scene, index) => [
    ...(index > 0 && scene.says ? [undefined] : []),
    ...linesOf(scene),
  ]);
  const second = 0.7;
  const length = lines.length * second + 5;
  const height = PADDING * 2 + lines.length * ROW;
  const rows = lines.map((each, index) => {
    if (!each) return "";
    const from = ((index * second) / length) * 100;
    return (
      `<style>@keyframes l${index}{0%,${from.toFixed(2)}%{opacity:0}${(from + 0.1).toFixed(2)}%,100%{opacity:1}}.l${index}{animation-name:l${index}}</style>` +
      `<text class="l l${index}" x="${PADDING}" y="${PADDING + 13 + index * ROW}" fill="${colours[each.kind]}">${escaped(each.text)}</text>`
    );
  });
  const body = `<style>.l{animation-duration:${length.toFixed(1)}s;animation-iteration-count:infinite}@media (prefers-reduced-motion:reduce){.l{animation:none}}</style>
<rect width="100%" height="100%" fill="${back}"/>
<rect x="1" y="1" width="${WIDTH - 2}" height="${height - 2}" rx="10" fill="${panel}" stroke="${line}"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="13.5" xml:space="preserve">
${rows.filter(Boolean).join("\n")}
</g>`;
  return svg(
    WIDTH,
    height,
    `A terminal: ${scenes
      .map(({ says }) => says)
      .filter(Boolean)
      .join("; ")}.`,
    body,
  );
}
