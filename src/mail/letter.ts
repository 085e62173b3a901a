/** A link, and what its button says. */
type Action = { label: string; url: string };

/** What a mail says. Text and HTML are both made of it; a link belongs to the paragraph before it. */
export type Letter = { subject: string; body: (string | Action)[]; closing: string };

/** A mail as it is sent. */
export type Written = { subject: string; text: string; html: string };

/** Writes a letter as text and as HTML. No part of it makes a second line, and none of it is markup. */
export function written({ subject, body, closing }: Letter, lang: string): Written {
  const parts = body.map((part) =>
    typeof part === "string" ? oneLine(part) : { label: part.label, url: oneLine(part.url) },
  );
  const title = oneLine(subject);
  return { subject: title, text: textOf(parts, closing), html: htmlOf({ title, parts, closing, lang }) };
}

const textOf = (parts: Letter["body"], closing: string) =>
  parts
    .map((part) => (typeof part === "string" ? `\n\n${part}` : `\n${part.url}`))
    .join("")
    .trimStart() + `\n\n${closing}\n`;

/** Sets no colour but the button's, so that whoever shows the mail may choose light or dark ones. */
const htmlOf = (of: { title: string; parts: Letter["body"]; closing: string; lang: string }) =>
  `<!doctype html>
<html lang="${escaped(of.lang)}" style="color-scheme:light dark">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(of.title)}</title>
</head>
<body style="margin:0;padding:24px;font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere">
<div style="max-width:36em;margin:0 auto">
<h1 style="margin:0 0 16px;font-size:20px;line-height:1.3">${escaped(of.title)}</h1>
${of.parts.map(blockOf).join("\n")}
<p style="margin:24px 0 0;font-size:14px">${escaped(of.closing)}</p>
</div>
</body>
</html>
`;

const blockOf = (part: Letter["body"][number]) =>
  typeof part === "string"
    ? `<p style="margin:0 0 16px">${escaped(part)}</p>`
    : `<p style="margin:0 0 16px"><a href="${escaped(part.url)}" style="${BUTTON}">${escaped(part.label)}</a></p>`;

const BUTTON =
  "display:inline-block;padding:12px 20px;border-radius:6px;background:#1d4ed8;color:#fff;font-weight:bold;text-decoration:none";

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
const escaped = (text: string) => text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? "");

/** Names are their owners' words: none of them makes a second line, or turns the rest of its own around. */
const oneLine = (text: string) => text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069]+/gu, " ");
