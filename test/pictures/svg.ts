/** The colours of a picture: GitHub shows one on white, and one on black. */
export type Theme = "light" | "dark";
export const THEMES: readonly Theme[] = ["light", "dark"];

type Colours = Record<"back" | "line" | "text" | "soft" | "accent" | "stop" | "panel", string>;
export const COLOURS: Record<Theme, Colours> = {
  light: {
    back: "#ffffff",
    panel: "#f6f8fa",
    line: "#8c959f",
    text: "#1f2328",
    soft: "#59636e",
    accent: "#0550ae",
    stop: "#a40e26",
  },
  dark: {
    back: "#0d1117",
    panel: "#161b22",
    line: "#6e7681",
    text: "#e6edf3",
    soft: "#9198a1",
    accent: "#79c0ff",
    stop: "#ff9492",
  },
};

export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** A whole SVG file. `title` is what a screen reader says in its place. */
export const svg = (width: number, height: number, title: string, body: string): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escaped(title)}</title>
${body}
</svg>
`;
