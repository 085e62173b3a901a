import axe from "axe-core";
import type { Page } from "playwright-core";

type Found = { id: string; nodes: { html: string; failureSummary: string }[] };

/** What axe-core finds in a page, as it is now, that keeps people out, by all its rules or these: one text for each element. */
export async function barriers(page: Page, rules?: readonly string[]): Promise<string[]> {
  // Half a megabyte: once a document is enough.
  if (!(await page.evaluate<boolean>("'axe' in globalThis"))) await page.evaluate(axe.source);
  const { violations } = await page.evaluate<{ violations: Found[] }>(
    `axe.run(${JSON.stringify({ resultTypes: ["violations"], ...(rules && { runOnly: rules }) })})`,
  );
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`),
  );
}
