// Tables as files for a spreadsheet.

/** Whether a spreadsheet would take the text for a formula: names are their owners' words. @param {string} text */
const isFormula = (text) => /^[=+\-@\t\r]/.test(text);

/** @param {string | number | null | undefined} value */
function cell(value) {
  if (typeof value === "number") return String(value);
  const text = value ?? "";
  const plain = isFormula(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

/** Rows as CSV (RFC 4180). @param {readonly (readonly (string | number | null | undefined)[])[]} rows */
const csvOf = (rows) => rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");

/** Has the browser save these rows as a file. @param {string} name @param {Parameters<typeof csvOf>[0]} rows */
export function saveCsv(name, rows) {
  // With a byte order mark, without which some spreadsheets read no UTF-8.
  const url = URL.createObjectURL(new Blob(["\uFEFF", csvOf(rows)], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
