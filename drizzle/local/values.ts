const BOOL = 16;
const NUMBERS: ReadonlySet<number> = new Set([21, 23, 700, 701]); // int2, int4, float4, float8
const JSONS: ReadonlySet<number> = new Set([114, 3802]); // json, jsonb
const TEXT = 25;

// Array types whose elements are not plain text, then the built-in ones whose elements are.
const ELEMENT: ReadonlyMap<number, number> = new Map([
  [1000, BOOL],
  [1005, 21],
  [1007, 23],
  [1021, 700],
  [1022, 701],
  [199, 114],
  [3807, 3802],
  ...[
    651, 719, 775, 791, 1001, 1002, 1003, 1009, 1010, 1011, 1012, 1014, 1015, 1016, 1017, 1018, 1019, 1027,
    1028, 1034, 1040, 1041, 1115, 1182, 1183, 1185, 1187, 1231, 1270, 1561, 1563, 2207, 2208, 2210, 2211,
    2949, 2951, 3221, 3643, 3645, 3735, 3770, 3905, 3907, 3909, 3911, 3913, 3927, 4073, 4090, 4097,
  ].map((oid): [number, number] => [oid, TEXT]),
]);

/** JSON source of a value's Postgres text, with the conversions of Neon's proxy; all else is a JSON string. */
export function jsonOfText(oid: number, text: string): string {
  if (oid === BOOL) return text === "t" ? "true" : "false";
  // JSON has no NaN and no Infinity, so those stay text.
  if (NUMBERS.has(oid)) return Number.isFinite(Number(text)) ? text : JSON.stringify(text);
  if (JSONS.has(oid)) return text;
  const element = ELEMENT.get(oid);
  return element === undefined ? JSON.stringify(text) : jsonOfArray(element, text);
}

/** JSON source of a Postgres array's text, nested as deep as it is; bounds like `[0:1]=` are dropped. */
function jsonOfArray(element: number, text: string): string {
  let at = text.startsWith("[") ? text.indexOf("=") + 1 : 0;

  const quoted = (): string => {
    let value = "";
    for (at += 1; at < text.length && text[at] !== '"'; at += 1) {
      if (text[at] === "\\") at += 1;
      value += text[at];
    }
    at += 1;
    return jsonOfText(element, value);
  };
  const bare = (): string => {
    const start = at;
    while (at < text.length && text[at] !== "," && text[at] !== "}") at += 1;
    const value = text.slice(start, at);
    return value === "NULL" ? "null" : jsonOfText(element, value);
  };
  const list = (): string => {
    const items: string[] = [];
    at += 1;
    while (at < text.length && text[at] !== "}") {
      if (text[at] === ",") at += 1;
      else if (text[at] === "{") items.push(list());
      else items.push(text[at] === '"' ? quoted() : bare());
    }
    at += 1;
    return `[${items.join(",")}]`;
  };
  return list();
}

/** The text that Postgres gets for a JSON parameter, as Neon's proxy writes it: arrays become Postgres arrays. */
export function textOfParam(value: unknown): string | null {
  if (value === null) return null;
  if (typeof value === "string") return value;
  return Array.isArray(value) ? textOfArray(value) : JSON.stringify(value);
}

function textOfArray(values: readonly unknown[]): string {
  const items = values.map((value) => {
    if (value === null) return "NULL";
    if (Array.isArray(value)) return textOfArray(value);
    const text = JSON.stringify(value);
    return text.startsWith("{") ? JSON.stringify(text) : text;
  });
  return `{${items.join(",")}}`;
}
