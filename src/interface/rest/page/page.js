// The page: what it shows it asks from the calls beside it. No state but the environment that is looked at, which is in
// the address (#ID), and the token, which is in this tab.
'use strict';

const $ = (id) => document.getElementById(id);
const TYPES = { 0: 'other work', 1: 'create a cluster', 3: 'add nodes', 4: 'remove nodes', 5: 'create EC2 hosts' };
const PACE = 1000;
let reading = null;   // ends the event stream of the environment that was looked at before
let asked = 0;        // when the cluster was last asked for its status
let shown = '';       // the task that is on the page

class NoToken extends Error {}
class Refused extends Error {}

async function call(path, options = {}) {
  const headers = {};
  const token = sessionStorage.getItem('token');
  if (token) headers.Authorization = `Bearer ${token}`;
  if (options.body) headers['Content-Type'] = 'application/json';
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) throw new NoToken();
  if (answer.status === 403) throw new Refused((await answer.json()).environment_desc);
  return answer;
}

function text(id, words) { const e = $(id); if (e.textContent !== words) e.textContent = words; }
function show(id, yes) { $(id).hidden = !yes; }
function cell(words, kind) {
  const td = document.createElement('td');
  td.textContent = words;
  if (kind) td.className = kind;
  return td;
}
function rows(id, list) {
  const body = $(id);
  body.replaceChildren(...list.map((cells) => { const tr = document.createElement('tr'); tr.append(...cells); return tr; }));
}
function trouble(words) { text('trouble', words); show('trouble', Boolean(words)); }
const chosen = () => { const id = decodeURIComponent(location.hash.slice(1)); return id === 'new' ? '' : id; };
const percent = (number) => `${number.toFixed(1)} %`;

function bar(value) {
  const td = document.createElement('td');
  const progress = document.createElement('progress');
  progress.max = 100;
  progress.value = value;
  progress.setAttribute('aria-label', percent(value));
  td.append(progress, ` ${percent(value)}`);
  return td;
}

function list(environments) {
  show('none', environments.length === 0);
  const focused = document.activeElement?.dataset?.id;
  $('environments').replaceChildren(...environments.map((environment) => {
    const li = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    button.dataset.id = environment.id;
    button.setAttribute('aria-current', String(environment.id === chosen()));
    const status = environment.task ? environment.task.environment_status : 'empty';
    const badge = document.createElement('span');
    badge.className = `badge ${status}`;
    badge.textContent = status === 'running' ? percent(environment.task.environment_progress) : status;
    button.append(environment.id, badge);
    button.addEventListener('click', () => { location.hash = encodeURIComponent(environment.id); });
    li.append(button);
    return li;
  }));
  if (focused) document.querySelector(`#environments [data-id="${CSS.escape(focused)}"]`)?.focus();
}

function task(id, found) {
  text('title', id);
  const newest = found.tasks[0];
  show('task', Boolean(newest));
  if (!newest) { rows('hosts', []); show('failure', false); return; }
  text('what', newest.title || TYPES[newest.environment_type]);
  text('status', newest.environment_status);
  $('status').className = `badge ${newest.environment_status}`;
  $('progress').value = newest.environment_progress;
  const steps = newest.steps ? `, ${newest.steps_done} of ${newest.steps} steps` : '';
  text('percent', percent(newest.environment_progress) + steps);
  const desc = newest.environment_desc;
  const made = typeof desc === 'object';
  text('desc', made ? 'made, and all checks passed' : newest.failure ? '' : desc);
  show('instances', made);
  if (made) {
    rows('instance-rows', Object.entries(desc).map(([instance, at]) =>
      [instance, at.private_ip_address, at.public_ip_address, at.public_dns_name].map((words) => cell(words))));
  }
  show('task-hosts', newest.hosts.length > 0);
  const failure = newest.failure;
  show('failure', Boolean(failure));
  if (failure) {
    text('failed-where', [failure.host, failure.step].filter(Boolean).join(': '));
    text('failed-error', failure.error);
    text('failed-help', failure.help || '');
  }
  rows('hosts', newest.hosts.map((host) =>
    [cell(host.host), cell(host.state, host.state), cell(host.step), bar(host.progress)]));
  follow(id, newest);
  const ended = newest.environment_status !== 'running';
  for (const button of ['add', 'remove']) show(button, found.cluster && ended);
  if (!ended || !found.cluster) { show('cluster', false); asked = 0; }
  else if (Date.now() - asked > 10 * PACE) { asked = Date.now(); cluster(id); }
}

async function cluster(id) {
  const answer = await call(`environments/${encodeURIComponent(id)}/2`);
  if (chosen() !== id) return;
  const message = await answer.json();
  const desc = message.environment_desc;
  const known = answer.ok && typeof desc === 'object';
  show('cluster', known);
  if (!known) return;
  rows('nodestatus', Object.entries(desc.nodestatus).map(([name, node]) =>
    [cell(name), cell(node.STATUS, node.STATUS.split(',')[0].toLowerCase()), cell(node.AGE)]));
  rows('components', Object.entries(desc.componentstatus).map(([name, part]) =>
    [cell(name), cell(part.STATUS, part.STATUS === 'Healthy' ? 'ok' : 'failed'), cell(part.MESSAGE || part.ERROR)]));
  text('cluster-error', desc.error || '');
  show('cluster-error', Boolean(desc.error));
}

// The event stream, read with fetch: EventSource could not send the token.
async function follow(id, newest) {
  const name = `${id} ${newest.task}`;
  if (shown === name) return;
  shown = name;
  reading?.abort();
  reading = new AbortController();
  $('events').replaceChildren();
  try {
    const answer = await call(`environments/${encodeURIComponent(id)}/events`, { signal: reading.signal });
    if (!answer.ok) return;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const parts = (rest + value).split('\n\n');
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split('\n').find((line) => line.startsWith('data: '));
        if (data) event(JSON.parse(data.slice(6)));
      }
    }
  } catch (error) {
    if (error.name !== 'AbortError') shown = '';
  }
}

function event(one) {
  const place = one.host ? `${one.host}: ` : '';
  const words = {
    run_started: () => (one.operations || []).join('; '),
    note: () => place + one.text,
    step_started: () => `${place}${one.title} …`,
    step_note: () => place + one.text,
    step_finished: () => `${place}${one.title}: ${one.outcome.result}`,
    run_finished: () => (one.ok ? 'done' : one.interrupted ? 'interrupted' : 'failed'),
  }[one.event];
  if (!words) return;
  const li = document.createElement('li');
  li.textContent = words();
  const events = $('events');
  events.append(li);
  while (events.children.length > 500) events.firstChild.remove();
  events.scrollTop = events.scrollHeight;
}

async function refresh() {
  try {
    const answer = await call('environments');
    const { environments } = await answer.json();
    show('login', false);
    show('panes', true);
    list(environments);
    const id = chosen();
    const known = environments.some((environment) => environment.id === id);
    show('view', known);
    const wantsForm = location.hash === '#new' || environments.length === 0;
    if ($('deploy').hidden === wantsForm) show('deploy', wantsForm);
    if (known) task(id, await (await call(`environments/${encodeURIComponent(id)}`)).json());
    else if (!wantsForm && environments.length > 0) location.hash = encodeURIComponent(environments[0].id);
    trouble('');
  } catch (error) {
    if (error instanceof NoToken) {
      trouble(sessionStorage.getItem('token') ? 'This is not the token of this listener.' : '');
      sessionStorage.removeItem('token');
      if ($('login').hidden) { show('login', true); show('panes', false); $('token').focus(); }
    } else if (error instanceof Refused) trouble(error.message);
    else trouble('The listener does not answer. Its tasks say "stop" when it is back, and go on when started again.');
  }
}

async function loop() { if ($('login').hidden) await refresh(); setTimeout(loop, document.hidden ? 5 * PACE : PACE); }

// The form: what it asks for depends on what is to be done.
const FORM = {
  1: ['etcd first, then Kubernetes on it. The same request again continues where it stopped.', 'Deploy'],
  3: ['Hosts join the cluster as it stands. Etcd members come one after the other.', 'Add'],
  4: ['Nodes are drained first; what was installed is removed.', 'Remove'],
  5: ['With the AWS credentials of the control host. The same request again makes no second set.', 'Create'],
};
const kind = () => Number($('kind').value);

function shape() {
  const [help, start] = FORM[kind()];
  text('kind-help', help);
  text('start', start);
  for (const part of document.querySelectorAll('[data-kinds]')) {
    const wanted = part.dataset.kinds.split(' ').includes($('kind').value);
    part.hidden = !wanted;
    if (part.tagName === 'FIELDSET') part.disabled = !wanted;
  }
  $('masters').required = kind() === 1;
  show('refused', false);
}

function given(params, fields) {
  for (const [key, id] of fields) {
    if ($(id).value.trim()) params[key] = $(id).value.trim();
  }
  return params;
}

function parameters() {
  if (kind() === 5) {
    const params = given({}, [['ImageId', 'image'], ['certificate_Name', 'pair'], ['InstanceType', 'type'],
      ['SubnetId', 'subnet'], ['Region', 'region']]);
    params.MinCount = $('min').valueAsNumber;
    if ($('max').value) params.MaxCount = $('max').valueAsNumber;
    if (lines('groups').length) params.SecurityGroupIds = lines('groups');
    return params;
  }
  const params = given({}, [['ssh-user', 'user'], ['certificate_path', 'key'], ['ssh-sudo-pw', 'sudo']]);
  for (const [key, id] of [['master-host-list', 'masters'], ['etcd-host-list', 'etcd'], ['node-host-list', 'nodes']]) {
    if (lines(id).length) params[key] = lines(id);
  }
  if (kind() === 1) {
    given(params, [['cni', 'cni']]);
    params['etcd-host-list'] ??= lines('masters');
  }
  return params;
}

function open(what, id) {
  $('kind').value = what;
  if (id) $('id').value = id;
  shape();
  location.hash = 'new';
  show('deploy', true);
  $(id ? 'masters' : 'kind').focus();
}

const lines = (id) => $(id).value.split(/[\s,]+/).filter(Boolean);

$('deploy').addEventListener('submit', async (submitted) => {
  submitted.preventDefault();
  const form = $('deploy');
  if (!form.reportValidity()) return;
  const id = $('id').value;
  const button = form.querySelector('.primary');
  button.disabled = true;
  try {
    const body = JSON.stringify({ environment_type: kind(), environment_params: parameters() });
    const answer = await call(`environments/${encodeURIComponent(id)}`, { method: 'POST', body });
    const message = await answer.json();
    show('refused', !answer.ok);
    if (!answer.ok) { text('refused', message.environment_desc); return; }
    for (const field of ['sudo', 'masters', 'etcd', 'nodes']) $(field).value = '';
    asked = 0;
    location.hash = encodeURIComponent(id);
    await refresh();
    $('main').focus();
  } catch (error) {
    show('refused', true);
    text('refused', 'The listener does not answer.');
  } finally { button.disabled = false; }
});

$('login').addEventListener('submit', (submitted) => {
  submitted.preventDefault();
  sessionStorage.setItem('token', $('token').value.trim());
  $('token').value = '';
  refresh();
});

$('kind').addEventListener('change', shape);
$('new').addEventListener('click', () => open(1));
$('add').addEventListener('click', () => open(3, chosen()));
$('remove').addEventListener('click', () => open(4, chosen()));
$('cancel').addEventListener('click', () => { location.hash = ''; });
$('forget').addEventListener('click', async () => {
  const id = chosen();
  if (!confirm(`Forget ${id}? Its hosts are not touched.`)) return;
  try {
    let answer = await call(`environments/${encodeURIComponent(id)}`, { method: 'DELETE' });
    if (answer.status === 409) {
      const message = await answer.json();
      if (!confirm(`${message.environment_desc}\n\nForget it by force?`)) return;
      answer = await call(`environments/${encodeURIComponent(id)}?force=true`, { method: 'DELETE' });
    }
    if (answer.ok) location.hash = '';
  } catch (error) {
    alert(error.message || 'The token is not that of this listener any more.');
  }
  refresh();
});
window.addEventListener('hashchange', () => { asked = 0; shown = ''; show('cluster', false); refresh(); });
shape();
loop();
