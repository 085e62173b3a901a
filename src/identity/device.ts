import Bowser from "bowser";

/** A session's device for people, such as `Firefox on Linux`; the User-Agent as it is when that says nothing known. */
export function deviceOf(userAgent: string): string {
  if (userAgent === "") return "";
  const { browser, os } = Bowser.parse(userAgent);
  const parts = [browser.name, os.name].filter((part) => part !== undefined && part !== "");
  return parts.length > 0 ? parts.join(" on ") : userAgent;
}
