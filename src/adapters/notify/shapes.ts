/**
 * What each chat wants to read. Slack: incoming webhooks with Block Kit. Teams: the Workflows trigger "when a webhook
 * request is received", an adaptive card as attachment. Mattermost: incoming webhooks with message attachments.
 */
import type { Notice } from '../../domain/notice.ts';

type Body = Readonly<Record<string, unknown>>;

const slackHeaderMost = 150;
const slackSectionMost = 3000;
const slackFieldsMost = 10;
const slackFieldMost = 2000;
/** Teams refuses cards above 28 KB. */
const teamsTextMost = 16_000;
const teamsFactMost = 500;
const mattermostTextMost = 12_000;

function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 2)} …`;
}

const paragraphs = (notice: Notice): string => notice.lines.join('\n');

/** Slack reads these three as control signs, whatever the text. */
const slackText = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const marks: Readonly<Record<Notice['severity'], string>> = {
  critical: ':red_circle:',
  warning: ':large_orange_circle:',
  info: ':large_blue_circle:',
};

const mark = (notice: Notice): string =>
  notice.event === 'closed' ? ':white_check_mark:' : marks[notice.severity];

export function slackBody(notice: Notice): Body {
  const section = (text: string): Body => ({
    type: 'section',
    text: { type: 'mrkdwn', text: cut(slackText(text), slackSectionMost) },
  });
  return {
    // Shown in the notification, and where blocks cannot be.
    text: `${mark(notice)} ${slackText(notice.subject)}`,
    blocks: [
      {
        type: 'header',
        text: { type: 'plain_text', text: cut(notice.subject, slackHeaderMost), emoji: true },
      },
      ...(notice.lines.length === 0 ? [] : [section(paragraphs(notice))]),
      ...(notice.facts.length === 0
        ? []
        : [
            {
              type: 'section',
              fields: notice.facts.slice(0, slackFieldsMost).map(([label, text]) => ({
                type: 'mrkdwn',
                text: cut(`*${slackText(label)}*\n${slackText(text)}`, slackFieldMost),
              })),
            },
          ]),
      ...(notice.next === null ? [] : [section(`Next: ${notice.next}`)]),
    ],
  };
}

const teamsColours: Readonly<Record<Notice['severity'], string>> = {
  critical: 'Attention',
  warning: 'Warning',
  info: 'Accent',
};

export function teamsBody(notice: Notice): Body {
  const block = (text: string, more: Body = {}): Body => ({ type: 'TextBlock', text, wrap: true, ...more });
  const colour = notice.event === 'closed' ? 'Good' : teamsColours[notice.severity];
  return {
    type: 'message',
    attachments: [
      {
        contentType: 'application/vnd.microsoft.card.adaptive',
        contentUrl: null,
        content: {
          $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
          type: 'AdaptiveCard',
          version: '1.4',
          msteams: { width: 'Full' },
          body: [
            block(notice.subject, { weight: 'Bolder', size: 'Medium', color: colour }),
            // A single line break is none in the Markdown of a card.
            ...(notice.lines.length === 0 ? [] : [block(cut(notice.lines.join('\n\n'), teamsTextMost))]),
            ...(notice.facts.length === 0
              ? []
              : [
                  {
                    type: 'FactSet',
                    facts: notice.facts.map(([title, value]) => ({
                      title,
                      value: cut(value, teamsFactMost),
                    })),
                  },
                ]),
            ...(notice.next === null ? [] : [block(`Next: ${notice.next}`)]),
          ],
        },
      },
    ],
  };
}

const mattermostColours: Readonly<Record<Notice['severity'], string>> = {
  critical: '#C0392B',
  warning: '#E67E22',
  info: '#2980B9',
};

/** An `@` would call people by name, and `channel` everybody: a name of a VM must not. */
const calm = (text: string): string => text.replace(/@(?=\w)/g, '@\u200b');

export function mattermostBody(notice: Notice): Body {
  const next = notice.next === null ? [] : [`**Next:** ${notice.next}`];
  return {
    text: calm(notice.subject),
    attachments: [
      {
        fallback: calm(notice.subject),
        color: notice.event === 'closed' ? '#27AE60' : mattermostColours[notice.severity],
        title: calm(notice.subject),
        text: cut(calm([...notice.lines, ...next].join('\n')), mattermostTextMost),
        fields: notice.facts.map(([title, value]) => ({
          title,
          value: calm(value),
          short: value.length < 40,
        })),
      },
    ],
  };
}

/** Everything, for programs; `docs/notices.md` describes it. */
export function webhookBody(notice: Notice): Body {
  const { id, at, ...data } = notice;
  return { type: `lifeboat.${notice.event}`, timestamp: at, id, data };
}
