'use strict';
// The view of administrators. Each list and each button is one method of section 11 of
// docs/PROTOCOL-HTTP.md. Remote text is inserted as text, never as markup.
Object.assign(WORDS.en, {
  admin_: 'Administration', members: 'Members', applicants: 'Waiting for admission', invites: 'Invites', bans: 'Bans', limits: 'Limits', publications: 'Publications', audit: 'Audit log',
  role: 'Role', groups: 'Groups, with commas', uses: 'Uses', lasts: 'Valid for', hour: '1 hour', day: '1 day', week: '1 week', month: '30 days', ever: 'always', seen: 'seen {ago} ago', since: '{ago} ago', leftFor: '{ago} left', usesLeft: '{n} uses left', by: 'by {who}',
  admit: 'Admit', revoke: 'Revoke', kick: 'Disconnect', ban: 'Ban', unban: 'Lift the ban', uninvite: 'Withdraw', invite: 'Make an invite', remove: 'Remove', set: 'Set', reset: 'Default', sure: 'Really {what}?', ofName: '{what}: {name}',
  none: 'Nothing here.', done: '{what}: done.', newInvite: 'The new invite is a secret, shown once:', copy: 'Copy', copied: 'Copied.', address: 'Name, key or address range', reason: 'Reason', user: 'User', file: 'File', intact: 'All rows are intact.', badRow: 'Row {n} was changed by another program.', moreRows: 'Show later rows', refusedRow: 'refused', limitRange: '{least} to {most}', readRole: 'read', shareRole: 'share', adminRole: 'admin',
});
Object.assign(WORDS.pt, {
  admin_: 'Administração', members: 'Membros', applicants: 'À espera de admissão', invites: 'Convites', bans: 'Banimentos', limits: 'Limites', publications: 'Publicações', audit: 'Registro de auditoria',
  role: 'Papel', groups: 'Grupos, com vírgulas', uses: 'Usos', lasts: 'Vale por', hour: '1 hora', day: '1 dia', week: '1 semana', month: '30 dias', ever: 'sempre', seen: 'visto há {ago}', since: 'há {ago}', leftFor: 'faltam {ago}', usesLeft: 'faltam {n} usos', by: 'por {who}',
  admit: 'Admitir', revoke: 'Revogar', kick: 'Desconectar', ban: 'Banir', unban: 'Levantar o banimento', uninvite: 'Retirar', invite: 'Fazer um convite', remove: 'Remover', set: 'Definir', reset: 'Padrão', sure: '{what} mesmo?', ofName: '{what}: {name}',
  none: 'Nada aqui.', done: '{what}: feito.', newInvite: 'O novo convite é um segredo, mostrado uma vez:', copy: 'Copiar', copied: 'Copiado.', address: 'Nome, chave ou faixa de endereços', reason: 'Motivo', user: 'Usuário', file: 'Arquivo', intact: 'Todas as linhas estão intactas.', badRow: 'A linha {n} foi alterada por outro programa.', moreRows: 'Mostrar linhas posteriores', refusedRow: 'recusado', limitRange: '{least} a {most}', readRole: 'read', shareRole: 'share', adminRole: 'admin',
});
Object.assign(WORDS.es, {
  admin_: 'Administración', members: 'Miembros', applicants: 'En espera de admisión', invites: 'Invitaciones', bans: 'Vetos', limits: 'Límites', publications: 'Publicaciones', audit: 'Registro de auditoría',
  role: 'Papel', groups: 'Grupos, con comas', uses: 'Usos', lasts: 'Vale por', hour: '1 hora', day: '1 día', week: '1 semana', month: '30 días', ever: 'siempre', seen: 'visto hace {ago}', since: 'hace {ago}', leftFor: 'quedan {ago}', usesLeft: 'quedan {n} usos', by: 'por {who}',
  admit: 'Admitir', revoke: 'Revocar', kick: 'Desconectar', ban: 'Vetar', unban: 'Levantar el veto', uninvite: 'Retirar', invite: 'Crear una invitación', remove: 'Quitar', set: 'Fijar', reset: 'Por defecto', sure: '¿{what} de verdad?', ofName: '{what}: {name}',
  none: 'Nada aquí.', done: '{what}: hecho.', newInvite: 'La nueva invitación es un secreto, que se muestra una vez:', copy: 'Copiar', copied: 'Copiado.', address: 'Nombre, clave o rango de direcciones', reason: 'Motivo', user: 'Usuario', file: 'Archivo', intact: 'Todas las filas están intactas.', badRow: 'Otro programa cambió la fila {n}.', moreRows: 'Mostrar filas posteriores', refusedRow: 'rechazado', limitRange: '{least} a {most}', readRole: 'read', shareRole: 'share', adminRole: 'admin',
});

(() => {
  const PAGE_LIMIT = 40;
  const state = el('p', { id: 'adminState', class: 'status', role: 'status', 'aria-live': 'polite' });
  const title = el('h2', { id: 'adminTitle' });
  const view = el('section', { id: 'admin', 'aria-labelledby': 'adminTitle' }, title, state);
  const tell = (key, values) => { state.textContent = t(key, values); };
  const failed = error => tell('failed', { why: error.message });

  /** A span of seconds in its largest unit. */
  const span = s => (s < 120 ? Math.round(s) + ' s' : s < 7200 ? Math.floor(s / 60) + ' min' : s < 172800 ? Math.floor(s / 3600) + ' h' : Math.floor(s / 86400) + ' d');
  const groupsOf = text => text.split(/[\s,]+/).filter(Boolean);
  const label = (key, control) => el('label', { class: 'of' }, el('span', { text: t(key), 'data-t': key }), control);
  const input = (id, attributes = {}) => el('input', { id, class: 'in', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', ...attributes });
  const choose = (id, choices, chosen) => {
    const list = el('select', { id, class: 'in' }, ...choices.map(([value, key]) => el('option', { value, text: t(key), 'data-t': key })));
    list.value = chosen;
    return list;
  };
  const ROLES = [['read', 'readRole'], ['share', 'shareRole'], ['admin', 'adminRole']];
  const TIMES = [['3600', 'hour'], ['86400', 'day'], ['604800', 'week'], ['2592000', 'month']];
  const name = text => el('h3', { class: 'name' }, el('bdi', { text: safe(text) }));
  const line = (id, what, ...buttons) => el('li', { 'data-id': id }, el('div', { class: 'row' }, el('div', { class: 'what' }, ...what), el('div', { class: 'acts' }, ...buttons)));
  const texts = list => el('p', { class: 'facts' }, ...list.filter(Boolean).map(text => el('span', null, el('bdi', { text }))));

  /** Sends a change, says how it ended, and loads the lists that it concerns. */
  async function change(method, body, what, ...lists) {
    let answer = null;
    try {
      answer = await ask('api/admin/' + method, undefined, 'POST', body);
      tell('done', { what });
    } catch (error) { failed(error); }
    for (const list of lists) await list.load();
    return answer;
  }

  /** A button that acts at the second press, so that a slip of the hand does nothing. */
  function button(key, of, act, careful = false) {
    const b = el('button', { type: 'button', class: 'quiet', text: t(key), 'aria-label': t('ofName', { what: t(key), name: safe(of) }) });
    let armed = 0;
    b.addEventListener('click', () => {
      if (careful && !armed) {
        b.textContent = t('sure', { what: t(key) });
        b.setAttribute('aria-label', t('ofName', { what: b.textContent, name: safe(of) }));
        b.classList.add('armed');
        armed = setTimeout(() => { armed = 0; b.textContent = t(key); b.classList.remove('armed'); }, 5000);
        return;
      }
      clearTimeout(armed);
      armed = 0;
      b.disabled = true;
      Promise.resolve(act()).finally(() => { b.disabled = false; b.textContent = t(key); b.classList.remove('armed'); });
    });
    return b;
  }

  /** A list that is loaded when it is opened, with its form above. Hidden where the server does not know the method. */
  function part(key, path, field, row, form = null) {
    const list = el('ul', { class: 'list', id: 'admin-' + key });
    const more = el('button', { type: 'button', class: 'quiet wide', hidden: '', text: t('more'), 'data-t': 'more' });
    const details = el('details', { class: 'card part', 'data-part': key }, el('summary', { text: t(key), 'data-t': key }), form, path ? list : null, path ? more : null);
    let entries = [], cursor = null, now = 0;
    const show = () => {
      const lines = entries.map(entry => row(entry, now));
      fill(list, lines.length ? lines : [el('li', { class: 'none', 'data-id': '', text: t('none') })]);
      more.hidden = !cursor;
    };
    async function load(again = false) {
      if (!path || !details.open && !again) return;
      try {
        const all = [];
        let next = null;
        for (let page = 0; page < PAGE_LIMIT; page++) {
          const answer = await ask(path + (next ? '?cursor=' + encodeURIComponent(next) : ''));
          all.push(...answer[field]);
          now = answer.now || 0;
          next = answer.cursor || null;
          if (!next) break;
        }
        [entries, cursor] = [all, next];
        show();
      } catch (error) {
        if (error.code === 'unsupported') details.hidden = true;
        else failed(error);
      }
    }
    details.addEventListener('toggle', () => load());
    more.addEventListener('click', () => load());
    renderers.push(show);
    view.append(details);
    return { load, details };
  }

  let canBan = false;
  const banOf = (target, of) => canBan ? [button('kick', of, () => change('kick', target, t('kick')), true), button('ban', of, () => change('ban', target, t('ban'), bans), true)] : [];
  const membersPart = part('members', 'api/admin/members', 'members', (one, now) => line(one.key, [name(one.name), texts([one.role, one.groups.join(', '), t('seen', { ago: span(now - one.seen) }), one.key.slice(0, 16)])],
    button('revoke', one.name, () => change('revoke', { name: one.name }, t('revoke'), membersPart), true), ...banOf({ name: one.name }, one.name)));

  const applicantsPart = part('applicants', 'api/admin/applicants', 'applicants', (one, now) => {
    const role = choose(null, ROLES, 'share'), groups = input(null);
    role.setAttribute('aria-label', t('role'));
    groups.setAttribute('aria-label', t('groups'));
    groups.placeholder = t('groups');
    return line(one.key, [name(one.name), texts([one.from, t('since', { ago: span(now - one.since) }), one.key])], role, groups,
      button('admit', one.name, () => change('admit', { key: one.key, role: role.value, groups: groupsOf(groups.value) }, t('admit'), applicantsPart, membersPart)));
  });

  // --- Invites ---
  const base64url = hex => btoa(String.fromCharCode(...hex.match(/../g).map(byte => parseInt(byte, 16)))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
  const made = el('div', { id: 'newInvite', hidden: '' });
  /** The URLs of a new invite: no other response has them again. */
  function showInvite(answer) {
    const urls = [];
    if (answer.web) urls.push(answer.web + '/#i=' + answer.token);
    if (answer.addresses.length) urls.push('cardume://' + answer.addresses.join(',') + '/#' + base64url(answer.key) + '.' + answer.token);
    made.replaceChildren(el('p', { class: 'said', text: t('newInvite') }), ...urls.map(url => el('div', { class: 'row' }, el('code', { class: 'secret', text: url }),
      el('button', { type: 'button', class: 'quiet', text: t('copy'), on: { click: () => navigator.clipboard.writeText(url).then(() => tell('copied'), failed) } }))));
    made.hidden = false;
  }
  const inviteRole = choose('inviteRole', ROLES, 'share'), uses = input('inviteUses', { type: 'number', min: '1', max: '4294967295', value: '1', required: '' });
  const lasts = choose('inviteLasts', TIMES, '86400'), inviteGroups = input('inviteGroups');
  const makeInvite = async event => {
    event.preventDefault();
    const body = { role: inviteRole.value, uses: Number(uses.value), lasts: Number(lasts.value), groups: groupsOf(inviteGroups.value) };
    const answer = await change('invite', body, t('invite'), invitesPart);
    if (answer) showInvite(answer);
  };
  const submit = key => el('button', { type: 'submit', class: 'btn', text: t(key), 'data-t': key });
  const inviteForm = el('form', { class: 'fields', on: { submit: makeInvite } }, label('role', inviteRole), label('uses', uses), label('lasts', lasts), label('groups', inviteGroups), submit('invite'), made);
  const invitesPart = part('invites', 'api/admin/invites', 'invites', one => line(one.invite, [name(one.as || one.invite), texts([one.role, one.groups.join(', '), t('usesLeft', { n: number(one.uses) }), t('leftFor', { ago: span(one.left) }), t('by', { who: safe(one.by) })])],
    button('uninvite', one.invite, () => change('uninvite', { invite: one.invite }, t('uninvite'), invitesPart), true),
    button('revoke', one.invite, () => change('revoke', { invite: one.invite }, t('revoke'), invitesPart, membersPart), true)), inviteForm);

  // --- Bans, limits and publications ---
  const target = text => (/^[0-9a-f]{64}$/.test(text) ? { key: text } : /^(\d+(\.\d+){3}|[0-9a-f.]*:[0-9a-f.:]+)(\/\d+)?$/i.test(text) ? { range: text } : { name: text });
  const banWho = input('banWho', { required: '' }), banTime = choose('banLasts', [...TIMES, ['', 'ever']], '86400'), banWhy = input('banReason', { maxlength: '200' });
  const makeBan = event => {
    event.preventDefault();
    const body = { ...target(banWho.value.trim()), reason: banWhy.value };
    if (banTime.value) body.lasts = Number(banTime.value);
    change('ban', body, t('ban'), bans);
  };
  const bans = part('bans', 'api/admin/bans', 'bans', (one, now) => {
    const subject = one.key ? { key: one.key } : { range: one.range }, of = one.name || one.key || one.range;
    return line(one.key || one.range, [name(of), texts([one.left === null ? t('ever') : t('leftFor', { ago: span(one.left) }), t('since', { ago: span(now - one.since) }), t('by', { who: safe(one.by) }), safe(one.reason)])],
      button('unban', of, () => change('unban', subject, t('unban'), bans), true));
  }, el('form', { class: 'fields', on: { submit: makeBan } }, label('address', banWho), label('lasts', banTime), label('reason', banWhy), submit('ban')));

  const limits = part('limits', 'api/admin/limits', 'limits', one => {
    const value = input(null, { type: 'number', min: one.least, max: one.most, value: one.value ?? '' });
    value.setAttribute('aria-label', one.limit);
    const put = number => change('limits', { set: { [one.limit]: number } }, one.limit, limits);
    return line(one.limit, [name(one.limit), texts([t('limitRange', { least: number(one.least), most: number(one.most) }), one.unit])], value,
      button('set', one.limit, () => put(value.value === '' ? null : Number(value.value))), ...(one.set ? [button('reset', one.limit, () => put(null))] : []));
  });

  const pubUser = input('pubUser', { required: '' }), pubFile = input('pubFile');
  const unpublish = event => {
    event.preventDefault();
    if (pubFile.value) change('unpublish', { user: pubUser.value.trim(), name: pubFile.value }, t('remove'));
    else change('remove_user', { user: pubUser.value.trim() }, t('remove'));
  };
  const publications = part('publications', null, '', null, el('form', { class: 'fields', on: { submit: unpublish } }, label('user', pubUser), label('file', pubFile), submit('remove')));

  // --- The audit log ---
  const rows = el('ol', { class: 'list', id: 'admin-audit', reversed: '' }), check = el('p', { class: 'said' });
  const later = el('button', { type: 'button', class: 'quiet wide', text: t('moreRows'), 'data-t': 'moreRows' });
  const audit = el('details', { class: 'card part', 'data-part': 'audit' }, el('summary', { text: t('audit'), 'data-t': 'audit' }), check, later, rows);
  let auditCursor = null, bad = null;
  async function readLog() {
    later.disabled = true;
    try {
      let more = true;
      for (let page = 0; more && page < PAGE_LIMIT; page++) {
        const answer = await ask('api/admin/audit' + (auditCursor ? '?cursor=' + encodeURIComponent(auditCursor) : ''));
        // The latest row first.
        for (const row of answer.rows) rows.prepend(el('li', null, el('p', { class: 'name' }, el('bdi', { text: row.seq + ' ' + safe(row.what) + ' ' + safe(row.object) })), texts([t('since', { ago: span(answer.now - row.at) }), safe(row.who), safe(row.from), row.ok ? '' : t('refusedRow')])));
        bad ??= answer.bad;
        [auditCursor, more] = [answer.cursor, answer.more];
      }
      check.textContent = bad ? t('badRow', { n: bad }) : more ? '' : t('intact');
    } catch (error) { failed(error); }
    later.disabled = false;
  }
  audit.addEventListener('toggle', () => { if (audit.open) readLog(); });
  later.addEventListener('click', readLog);
  view.append(audit);

  renderers.push(() => {
    title.textContent = t('admin_');
    for (const e of view.querySelectorAll('[data-t]')) e.textContent = t(e.dataset.t);
  });
  title.textContent = t('admin_');
  document.querySelector('main').append(view);
  // A server without bans has no buttons for them.
  ask('api/admin/bans').then(() => { canBan = true; membersPart.load(); }, () => { for (const one of [bans, limits, publications]) one.details.hidden = true; });
})();
