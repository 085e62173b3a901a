import Bowser from "bowser";

/** What a session's User-Agent says for people, such as `Firefox on Linux`; the User-Agent itself when it says nothing known. */
export function deviceOf(userAgent: string): string {
  if (userAgent === "") return "";
  const { browser, os } = Bowser.parse(userAgent);
  const parts = [browser.name, os.name].filter((part) => part !== undefined && part !== "");
  return parts.length > 0 ? parts.join(" on ") : userAgent;
}
