import { html } from "hono/html";
import { newPassword, password, status, view } from "./parts.ts";

/** A link from a mail does nothing until its button is pressed: programs that look for malware open links, too. */
const confirmation = (id: string, title: string, text: string, button: string) =>
  view(
    id,
    title,
    html`<p>${text}</p>
      <form method="post" data-act="${id}"><button>${button}</button></form>`,
  );

/** The same with a password: anybody can sign up with the address of others, and whoever did knows what they chose. */
const withPassword = (id: string, title: string, button: string, otherwise: unknown) =>
  view(
    id,
    title,
    html`<p>
        Type the password that you signed up with. It keeps out whoever signs up with your address and a
        password of theirs.
      </p>
      <form method="post" data-act="${id}">${password()} <button>${button}</button></form>
      <p>${otherwise}</p>`,
  );

/** What the links in mails lead to. */
export const linkViews = () => html`
  ${view(
    "reset",
    "Choose a new password",
    html`<p>You sign in with it from now on, and are signed out everywhere.</p>
      <form method="post" data-act="reset">
        ${newPassword()}
        <button>Set the password</button>
      </form>`,
  )}
  ${withPassword(
    "verification",
    "Confirm your email address",
    "Confirm the address",
    html`You did not sign up, or do not know the password? <a href="#forgot">Set one of your own</a>`,
  )}
  ${withPassword(
    "signup",
    "Finish signing up",
    "Finish",
    html`You did not sign up? Then do nothing. You do not know the password?
      <a href="#sign-up">Sign up again</a>`,
  )}
  ${confirmation("email-change", "Confirm your new email address", "You sign in with the new address from now on.", "Use the new address")}
  ${confirmation("email-undo", "Keep your old email address", "Was it not you who changed the address of your account? Undo the change: your old address and password are back then, and you are signed out everywhere.", "Undo the change")}
  ${view(
    "invitation",
    "You are invited",
    html`<p>Accept the invitation, and you are a member of the workspace.</p>
      <form method="post" data-act="invitation">
        ${status()}
        <fieldset id="invitation-password" hidden disabled>${newPassword("Choose a password")}</fieldset>
        <button>Accept</button>
      </form>`,
  )}
  ${view(
    "done",
    "Done",
    html`<p id="done-text"></p>
      <p class="links"><a id="done-then" href="#sign-in">Go on</a></p>`,
  )}
`;
