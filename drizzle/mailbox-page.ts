import { html, raw } from "hono/html";

/** A mail as it came, and when. */
export type Kept = { id: number; at: Date; to: string; subject: string; text: string; html: string };

/** The mails that came, the latest first. */
export const listPage = (mails: readonly Kept[]) =>
  page(
    "Mailbox",
    html`<h1>Mailbox</h1>
      <p>
        What <code>npm run dev</code> sent, the latest first. Reload for more; nothing is kept when it stops.
      </p>
      ${mails.length === 0 ? html`<p>No mail yet.</p>` : ""}
      <ul>
        ${mails.map(
          (mail) =>
            html`<li>
              <a href="/${mail.id}">${mail.subject}</a>
              <div>to ${mail.to}, ${timeOf(mail)}</div>
            </li>`,
        )}
      </ul>`,
  );

/** One mail: its text, then its HTML in a frame that runs no script. Links in either open a page of their own. */
export const mailPage = (mail: Kept) =>
  page(
    mail.subject,
    html`<p><a href="/">All mails</a></p>
      <h1>${mail.subject}</h1>
      <p>to ${mail.to}, ${timeOf(mail)}</p>
      <h2>Text</h2>
      <pre tabindex="0">${linked(mail.text)}</pre>
      <h2>HTML</h2>
      <iframe
        title="The mail as HTML"
        sandbox="allow-popups allow-popups-to-escape-sandbox"
        srcdoc="${mail.html.replace("<head>", '<head><base target="_blank">')}"
      ></iframe>`,
  );

const timeOf = ({ at }: Kept) => html`<time datetime="${at.toISOString()}">${at.toLocaleTimeString()}</time>`;

const linked = (text: string) =>
  text
    .split(/(https?:\/\/\S+)/)
    .map((part, at) => (at % 2 === 1 ? html`<a href="${part}" target="_blank">${part}</a>` : part));

const page = (title: string, body: ReturnType<typeof html>) =>
  html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
        <link rel="icon" href="data:," />
        <style>
          ${raw(STYLE)}
        </style>
      </head>
      <body>
        <main>${body}</main>
      </body>
    </html>`;

const STYLE = `
:root { color-scheme: light dark; background: light-dark(#fff, #121212); }
a { color: light-dark(#0550ae, #79c0ff); }
body { margin: 0; font-family: system-ui, sans-serif; line-height: 1.5; overflow-wrap: anywhere; }
main { max-width: 44rem; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; }
ul { list-style: none; padding: 0; }
li { padding: 12px 0; border-top: 1px solid #8886; }
pre { padding: 12px; border-radius: 4px; background: #8882; white-space: pre-wrap; }
iframe { width: 100%; height: 32rem; border: 1px solid #8886; border-radius: 4px; box-sizing: border-box; }
`;
