import { followMedia } from '../../../report/browser/chart.ts';
import { byId } from '../../../report/browser/element.ts';
import type { DashboardUpdate, DashboardView, OverviewUpdate, OverviewView } from '../view.ts';
import { LiveConnection } from './connection.ts';
import { GroupPage } from './group-page.ts';
import { GroupsPage } from './groups-page.ts';
import { mergeGroup, mergeGroups } from './merge.ts';
import { keepToken, readToken } from './token.ts';

/** Charts over time go on without news. */
const REDRAW_MS = 10_000;

/** The page: the list of groups, or the group that its address names, as the service tells of them. */
class Dashboard {
  readonly #groups = new GroupsPage();
  readonly #group = new GroupPage();
  #connection: LiveConnection | undefined;
  #token = readToken();
  #overview: OverviewView | undefined;
  #view: DashboardView | undefined;
  /** The service's clock less the one here. */
  #aheadMs = 0;

  constructor() {
    addEventListener('hashchange', () => this.#open());
    setInterval(() => this.#tick(), 1000);
    setInterval(() => this.#group.redraw(), REDRAW_MS);
    followMedia(() => this.#group.recolour());
    byId('token-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#takeToken();
    });
    byId('forget').addEventListener('click', () => {
      this.#setToken(undefined);
      this.#open();
    });
    this.#setToken(this.#token);
    this.#open();
  }

  get #nowMs(): number {
    return Date.now() + this.#aheadMs;
  }

  #setToken(token: string | undefined): void {
    this.#token = token;
    keepToken(token);
    byId('forget').hidden = token === undefined;
  }

  #takeToken(): void {
    const field = byId<HTMLInputElement>('token');
    const group = byId<HTMLInputElement>('token-group').value.trim();
    this.#setToken(field.value.trim());
    field.value = '';
    const hash = group === '' ? location.hash : `#group=${encodeURIComponent(group)}`;
    if (hash === location.hash) this.#open();
    else location.hash = hash;
  }

  /** Shows what the address names. */
  #open(): void {
    this.#connection?.close();
    this.#overview = undefined;
    this.#view = undefined;
    const name = groupInAddress();
    byId('refused').hidden = true;
    byId('token-form').hidden = true;
    this.#showSection(undefined);
    const path =
      name === undefined ? 'v1/dashboard/events' : `v1/groups/${encodeURIComponent(name)}/dashboard/events`;
    if (name !== undefined) this.#group.clear(name);
    document.title = name === undefined ? 'eplb serve' : `${name} – eplb serve`;
    this.#connection = new LiveConnection(path, this.#token, {
      onEvent: (type, data) => {
        if (name === undefined) this.#takeGroups(type, data);
        else this.#takeGroup(type, data);
      },
      onStatus: (status, reason) => showStatus(status, reason),
      onRefused: (status, reason) => this.#refused(status, reason),
    });
  }

  #showSection(section: 'groups' | 'group' | undefined): void {
    byId('groups').hidden = section !== 'groups';
    byId('group').hidden = section !== 'group';
  }

  #takeGroups(type: string, data: unknown): void {
    const { at } = data as OverviewView;
    this.#aheadMs = at - Date.now();
    if (type === 'state') this.#overview = data as OverviewView;
    else if (this.#overview !== undefined) {
      this.#overview = mergeGroups(this.#overview, data as OverviewUpdate);
    } else return;
    this.#showSection('groups');
    this.#groups.show(this.#overview, this.#nowMs);
  }

  #takeGroup(type: string, data: unknown): void {
    const { at } = data as DashboardView;
    this.#aheadMs = at - Date.now();
    if (type === 'state') this.#view = data as DashboardView;
    else if (this.#view !== undefined) this.#view = mergeGroup(this.#view, data as DashboardUpdate);
    else return;
    this.#showSection('group');
    this.#group.show(this.#view, this.#nowMs);
  }

  #tick(): void {
    if (this.#overview !== undefined) this.#groups.show(this.#overview, this.#nowMs);
    if (this.#view !== undefined) this.#group.tick(this.#nowMs);
  }

  #refused(status: number, reason: string): void {
    showStatus('lost', reason);
    this.#overview = undefined;
    this.#view = undefined;
    this.#showSection(undefined);
    const isToken = status !== 404;
    byId('token-form').hidden = !isToken;
    byId('refused').hidden = isToken && this.#token === undefined;
    byId('refused').textContent = reason;
    if (!isToken) byId('refused').append(' ', allGroups());
    else byId('token').focus();
  }
}

function allGroups(): HTMLAnchorElement {
  const link = document.createElement('a');
  link.href = '#';
  link.textContent = 'All groups';
  return link;
}

function groupInAddress(): string | undefined {
  const text = /^#group=(.+)$/.exec(location.hash)?.[1];
  try {
    return text === undefined ? undefined : decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function showStatus(status: 'connecting' | 'live' | 'lost', reason: string): void {
  const text = status === 'lost' ? `not connected: ${reason}` : status;
  const place = byId('connection');
  if (place.textContent !== text) place.textContent = text;
  place.dataset.status = status;
}

new Dashboard();
