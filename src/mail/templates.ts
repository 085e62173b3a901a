import { en } from "./en.ts";
import { written, type Written } from "./letter.ts";
import type { Mails, Templates } from "./mails.ts";

/** The languages that there are mails in; the first one is for everybody else. */
const LANGUAGES = [en] as const satisfies Templates[];

/** The mails in the language of this locale (`de-AT`), in its language without a region (`de`), or in English. */
export function templatesOf(locale: string | null | undefined): Templates {
  const tags = [locale, locale?.split("-")[0]].map((tag) => tag?.toLowerCase());
  const found = tags.map((tag) => LANGUAGES.find(({ lang }) => lang.toLowerCase() === tag));
  return found.find(Boolean) ?? en;
}

/** The mail of this kind, as it is sent to somebody with this locale. */
export function compose<Kind extends keyof Mails>(
  kind: Kind,
  data: Mails[Kind],
  locale?: string | null,
): Written {
  const { lang, mails } = templatesOf(locale);
  return written(mails[kind](data), lang);
}
