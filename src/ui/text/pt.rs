//! Portuguese: every message for people.

use crate::cluster::info::EngineRefusal;
#[cfg(feature = "loadgen")]
use crate::loadgen::report::ReportWords;
use crate::protocol::control::TransferTotals;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::certificate_fault::CertificateFault;
use crate::protocol::types::file_name::{BadName, printable};
use crate::protocol::types::foreign_server::ForeignServer;
use crate::storage::fs_trait::{Barred, Blind};
use crate::ui::event::{DropEvent, Failure, Prompt, WaitReason};
use crate::ui::text::catalog::{
    Catalog, Cause, FolderNote, LinkNotice, ListenQuestion, MemberNotice, Notice, SetupNote,
    UsageError, of_accounts, reason,
};

/// The catalog of messages in Portuguese.
pub struct Portuguese;

impl Catalog for Portuguese {
    fn notice(&self, notice: &Notice) -> String {
        match notice {
            Notice::Listening(at) => format!("escutando em {at}"),
            Notice::AlreadyJoined(at) => format!("o peer {at} já está registrado com esta pasta"),
            Notice::NotHere(file) => {
                format!("{file}: não está na pasta; ninguém pode baixá-lo por enquanto")
            }
            Notice::NotKept { name, why } => format!("{name}: não foi guardado: {why}"),
            Notice::Left => "fora da rede".into(),
            Notice::Begun { name, from } => format!("{name}: baixando de {from}"),
            Notice::Resumed { name, from, held, size } => {
                format!("{name}: continua de {from}, {held} de {size} bytes já estão aqui")
            }
            Notice::Unverified { name, folder, is_sized } => {
                let end = if *is_sized {
                    ""
                } else {
                    "; a origem não disse o tamanho, e o fim pode faltar"
                };
                format!(
                    "{name}: não verificado! Está em {folder}, mas o conteúdo não foi conferido com nenhuma raiz{end}"
                )
            }
            Notice::TcpTakesOver { udp, why } => {
                format!("UDP não chega a {udp}: o TCP assume ({why})")
            }
            Notice::PlayerEnded { player, name } => {
                format!("{name}: {player} terminou; o download continua")
            }
            Notice::Unproven(name) => {
                format!("{name}: toca como vem; nada ainda confere estes bytes")
            }
            Notice::Blamed { name, who } => {
                format!("{name}: {who} deu bytes errados e não será mais usado")
            }
            Notice::Same(name) => format!("{name}: já está aqui, igual"),
            Notice::Mismatched { failed, of } => format!("{failed} de {of} arquivos não conferem"),
            Notice::Restarted(name) => format!("{name}: mudou na origem, começa de novo"),
            Notice::ServerLost { server, why } => {
                format!("sem servidor em {server} ({why}); tentando de novo")
            }
            Notice::ServerFound(server) => format!("servidor {server} encontrado"),
            Notice::Incomplete => {
                "servidores que não puderam ser consultados podem conhecer mais".into()
            }
            Notice::MoreFound => "há mais; --limit N mostra mais".into(),
            Notice::Consent { who, name } => {
                format!("{who} pede {name}. Gostaria de aprovar o download? (SIM/NAO)")
            }
            Notice::Drop(DropEvent::Asked { who, name, size }) => {
                format!("{who} quer lhe dar {name} ({size} bytes). Gostaria de aceitar? (SIM/NAO)")
            }
            Notice::Drop(DropEvent::Expired(name)) => {
                format!("{name}: sem resposta, o arquivo foi recusado")
            }
            Notice::Drop(DropEvent::Stored { who, name, .. }) => format!("{who} lhe deu {name}"),
            Notice::ConsentExpired(name) => {
                format!("{name}: sem resposta, o download foi recusado")
            }
        }
    }

    fn folder_note(&self, folder: &str, note: &FolderNote) -> String {
        match note {
            FolderNote::LeftOut { total, reasons } => format!(
                "{folder}: {total} não compartilhados: {reasons} (cardume ls --skipped diz quais)"
            ),
            FolderNote::Missing => {
                format!("{folder}: a pasta não está lá; nada dela é compartilhado até que volte")
            }
            FolderNote::Back => format!("{folder}: a pasta está de volta"),
            FolderNote::Blind(Blind::Limit) => format!(
                "{folder}: há pastas demais para o inotify (fs.inotify.max_user_watches); mudanças são procuradas de tempos em tempos"
            ),
            FolderNote::Blind(Blind::Network) => {
                format!("{folder}: está na rede; mudanças são procuradas de tempos em tempos")
            }
            FolderNote::Blind(Blind::Unsupported) => format!(
                "{folder}: o sistema não avisa de mudanças; elas são procuradas de tempos em tempos"
            ),
        }
    }

    fn barred(&self, why: Barred) -> &'static str {
        match why {
            Barred::Name => "nome não permitido",
            Barred::Encoding => "nome fora de UTF-8",
            Barred::Deep => "fundo demais",
            Barred::Hidden => "oculto",
            Barred::Partial => "download em andamento",
            Barred::Kind => "não é arquivo comum",
            Barred::Unreadable => "sem leitura",
            Barred::Secret => "chave secreta",
            Barred::Ours => "dados do próprio cardume",
            Barred::Excluded => "excluído",
        }
    }

    fn more_names(&self, more: u64) -> String {
        format!("e mais {more}")
    }

    fn wait_reason(&self, why: &WaitReason) -> String {
        match why {
            WaitReason::Consent => "espera a aprovação do outro lado".into(),
            WaitReason::Slot(place) => format!("na fila, lugar {place}"),
            WaitReason::Source => "origem perdida, tentando de novo".into(),
            WaitReason::Silence => "parado: nada chega".into(),
            WaitReason::Nobody => "ninguém tem ainda, espero".into(),
            WaitReason::Hashing => "o dono ainda calcula o hash do arquivo".into(),
            WaitReason::Disk => "espera o disco".into(),
        }
    }

    fn failure(&self, failure: &Failure) -> String {
        match failure {
            Failure::NoServer(at) => {
                let at = at.map(|at| at.to_string()).unwrap_or_default();
                format!("nenhum servidor responde em {at}")
            }
            Failure::Foreign(at, kind) => format!("{at} não fala o protocolo: {}", foreign(kind)),
            Failure::AuditRow(row) => {
                format!("a linha {row} do registro de auditoria foi mudada por outro programa")
            }
            Failure::Invite(why) => why.clone(),
            Failure::ServerKey { at, known, shown } => {
                let shown = shown.map_or("de outro tipo".to_owned(), |key| key.to_string());
                format!(
                    "{at} tem a chave {shown}, e a conhecida é {known}: nada foi enviado; se o servidor tem chave nova, use cardume join --replace CONVITE"
                )
            }
            Failure::NoSite => "o servidor não tem certificado para navegadores".into(),
            Failure::WrongKey(at) => {
                format!("{at} tem outra chave, não a esperada: nada foi enviado")
            }
            Failure::NoHost(host, why) => {
                format!("servidor {host}: endereço não encontrado ({why})")
            }
            Failure::Name(text, why) => format!("{}: {}", printable(text), self.bad_name(*why)),
            Failure::Refused(refusal) | Failure::Operation(_, refusal) => self.refusal(refusal),
            Failure::NoOwnPeer => {
                "nenhum peer seu foi encontrado; indique um em execução com --peer IP:PORT".into()
            }
            Failure::NotFound(name) => format!("{name}: ninguém tem este arquivo"),
            Failure::FolderFiles { name, failed, of, .. } => {
                format!("{name}/: faltam {failed} de {of} arquivos; repita o comando para continuar")
            }
            Failure::Ambiguous(name) => {
                format!("{name}: há arquivos diferentes com este nome; escolha um com --hash")
            }
            Failure::OtherContent { part, root, held } => {
                let of = root.map_or_else(String::new, |root| format!(" (--hash b3:{root})"));
                format!(
                    "{part}: guarda {held} bytes de outro conteúdo{of}, e fica como está; escolha outro nome com -o, ou apague {part}"
                )
            }
            Failure::BadBytes(name, who) => {
                format!("{name}: {who} deu bytes errados, e não há outra origem")
            }
            Failure::Root(text) => format!("{text}: esperava b3: e 64 dígitos hexadecimais"),
            Failure::NoSource(name) => {
                format!("{name}: nenhuma origem responde; o mesmo comando continua depois")
            }
            Failure::Lost(name) => format!(
                "{name}: datagramas se perderam no caminho, e o arquivo está incompleto; os bytes ficam no .part"
            ),
            Failure::Unended(name, bytes) => format!(
                "{name}: vieram {bytes} bytes, e a origem não diz se são todos; eles ficam no .part, sem o nome final"
            ),
            Failure::Protocol(_) => {
                "o outro lado não fala o protocolo (RUST_LOG=info mostra o detalhe)".into()
            }
            Failure::Disk(text) => format!("disco: {text}"),
            Failure::NoReader => "ninguém lê mais a saída".into(),
            Failure::NoFolder(folder) => format!("{folder}: a pasta não existe"),
            Failure::Port(at, why) => format!("não posso escutar em {at}: {why}"),
            Failure::Unseen(at, server) => format!(
                "ninguém acharia este peer: ele escuta em {at}, mas o servidor {server} o vê pela outra família de endereços; use --listen '[::]:{}' ou --advertise",
                at.port()
            ),
            Failure::Unknown(word) => format!("{word}: comando desconhecido (help mostra todos)"),
            Failure::Named(_, why) => self.failure(why),
            Failure::Usage(how) => format!("uso: {how}"),
            Failure::Wrong(what) => format!("esperava: {what}"),
            Failure::Player(player, why) => format!("{player}: não pode ser iniciado: {why}"),
            Failure::SearchFirst => "SEARCH vem antes de DOWNLOAD".into(),
            Failure::NoQuestion => "ninguém pergunta nada".into(),
            Failure::NotJoined => "JOIN vem antes".into(),
            Failure::AccountsEngine(why) => of_accounts(&self.failure(&Failure::Engine(*why))),
            Failure::Engine(why) => match why {
                EngineRefusal::Version => "o motor de --index é anterior ao Redis 7.0; atualize o motor",
                EngineRefusal::Evicts => "o motor de --index descarta chaves com a memória cheia; configure maxmemory-policy noeviction",
                EngineRefusal::NeedsPassword => "o motor de --index pede uma senha; ponha a URL com a senha em --index-file ou CARDUME_INDEX",
                EngineRefusal::WrongPassword => "o motor de --index recusa esse usuário ou senha",
                EngineRefusal::Replica => "o motor de --index é uma réplica e não aceita escritas; informe o endereço do mestre",
                EngineRefusal::NoEngine => "o endereço de --index não fala o protocolo do Redis",
                EngineRefusal::Untrusted(CertificateFault::Authority) => "nenhuma autoridade conhecida assinou o certificado do motor de --index; informe o certificado da autoridade com --index-ca ARQUIVO",
                EngineRefusal::Untrusted(CertificateFault::Name) => "o certificado do motor de --index é de outros nomes; ele deve ter o endereço do nó ou um host da URL",
                EngineRefusal::Untrusted(CertificateFault::Time) => "o certificado do motor de --index expirou ou ainda não é válido",
                EngineRefusal::Untrusted(CertificateFault::Form) => "o certificado do motor de --index não serve para um servidor",
            }
            .into(),
        }
    }

    fn member(&self, note: &MemberNotice) -> String {
        match note {
            MemberNotice::Enrolled { server, name, role } => {
                format!("entrou em {server}; aqui você é {name} ({role})")
            }
            MemberNotice::Pending { key } => {
                format!("esperando um administrador admitir a chave {key}")
            }
            MemberNotice::Invite { uses, lasts } => {
                format!("o convite é secreto: vale para {uses}, por {lasts}")
            }
            MemberNotice::Closed(count) => format!("conexões fechadas: {count}"),
            MemberNotice::Revoked(count) => format!("revogados: {count}"),
            MemberNotice::Pruned(count) => {
                format!(
                    "o registro guarda as linhas a partir de {}; {count} linhas anteriores foram removidas",
                    count + 1
                )
            }
        }
    }

    fn link(&self, note: &LinkNotice) -> String {
        let LinkNotice { id, lasts, command, is_here_only } = note;
        let here = if *is_here_only {
            "; neste endereço, só nesta máquina; --host indica outro"
        } else {
            ""
        };
        format!(
            "o link {id} é secreto: dá o arquivo por {lasts}, e acaba com o peer{here}:\n{command}"
        )
    }

    fn totals(&self, totals: &TransferTotals) -> String {
        let limit = |rate: Option<u64>| {
            rate.map_or_else(|| "sem limite".to_owned(), |rate| format!("no máximo {rate}/s"))
        };
        let (up, down) = (limit(totals.up), limit(totals.down));
        let TransferTotals { sent, received, .. } = totals;
        format!("{sent} bytes enviados, {up}; {received} bytes recebidos, {down}")
    }

    fn bad_name(&self, why: BadName) -> &'static str {
        match why {
            BadName::Empty => "o nome de um arquivo não pode ser vazio",
            BadName::Long => "o nome de um arquivo tem no máximo 255 bytes",
            BadName::Dots => "não é nome de arquivo",
            BadName::Separator => "o nome de um arquivo não pode conter / nem \\",
            BadName::Control | BadName::Direction => {
                "o nome de um arquivo não pode conter caracteres de controle"
            }
            BadName::Deep => "o nome passa por pastas demais (16) ou é longo demais (1024 bytes)",
            BadName::Reserved => "nomes que terminam em .part ou .part.record são reservados",
        }
    }

    fn refusal(&self, reply: &ErrorReply) -> String {
        let (why, code) = (self.error_code(reply.code), reply.code.as_str());
        match reason(reply) {
            None => format!("recusado: {why} ({code})"),
            Some(reason) => format!("recusado: {why} ({code}: {reason})"),
        }
    }

    fn error_code(&self, code: ErrorCode) -> &'static str {
        match code {
            ErrorCode::BadRequest => "o pedido não faz sentido",
            ErrorCode::BadName => "o nome não pode ser de um arquivo",
            ErrorCode::Unsupported => "o outro lado não tem esta operação",
            ErrorCode::Version => "o outro lado fala outra versão do protocolo",
            ErrorCode::TooLarge => "passa de um limite",
            ErrorCode::NotJoined => "JOIN vem antes",
            ErrorCode::Address => "este endereço não pode ser anunciado aqui",
            ErrorCode::InUse => "outro peer tem este endereço",
            ErrorCode::NotFound => "não encontrado",
            ErrorCode::Refused => "o outro lado não permite",
            ErrorCode::Busy => "o outro lado está ocupado; tente mais tarde",
            ErrorCode::Changed => "o arquivo mudou",
            ErrorCode::Range => "o trecho começa depois do fim do arquivo",
            ErrorCode::Cancelled => "cancelado",
            ErrorCode::Unavailable => "o índice dos servidores não responde agora; tente de novo",
            ErrorCode::Io => "o disco do outro lado falhou",
            ErrorCode::Internal => "o outro lado falhou",
            ErrorCode::Taken => "o nome já é de alguém",
            ErrorCode::NoUser => "ninguém está registrado com esse nome",
            ErrorCode::NoRemoteUser => "não há usuário com esse nome",
            ErrorCode::Connected => "esta conexão já tem um usuário",
            ErrorCode::NotConnected => "o usuário não está conectado",
            ErrorCode::Published => "esse arquivo já está publicado",
            ErrorCode::NotPublished => "esse arquivo não está publicado",
            ErrorCode::BadProof => "o nome não pertence a esta chave",
            ErrorCode::AccountRequired => "este servidor só aceita quem tem conta: use --user",
            ErrorCode::NotMember => "o servidor é fechado: entre com um convite (cardume join)",
            ErrorCode::BadToken => "o convite não existe, já foi usado ou venceu",
            ErrorCode::Forbidden => "seu papel neste servidor não permite isso",
            ErrorCode::Expired => "o passe venceu",
            ErrorCode::Kicked => "um administrador fechou a conexão",
            ErrorCode::Banned => "um administrador baniu esta chave",
            ErrorCode::EncryptedOnly => "é fechado e só aceita conexões cifradas: use cardume join",
        }
    }

    fn cause(&self, cause: Cause) -> &'static str {
        match cause {
            Cause::PermissionDenied => {
                "sem permissão; veja de quem é e quem pode ler e gravar (ls -ld)"
            }
            Cause::NotFound => "não existe; confira o nome",
            Cause::DiskFailed => {
                "o disco falhou ao ler ou gravar; veja as mensagens do sistema (dmesg)"
            }
            Cause::OutputClosed => "a saída está fechada",
            Cause::InUse => "está em uso por outro processo; tente de novo quando ele terminar",
            Cause::OutOfMemory => "falta memória; feche outros programas",
            Cause::Exists => "já existe",
            Cause::NotAFolder => "não é uma pasta",
            Cause::IsAFolder => "é uma pasta, e não um arquivo",
            Cause::TooManyOpen => "arquivos abertos demais; aumente o limite (ulimit -n)",
            Cause::TooLarge => {
                "o arquivo é grande demais para este disco ou para o limite do processo (ulimit -f)"
            }
            Cause::DiskFull => "o disco está cheio; libere espaço e repita",
            Cause::ReadOnly => "o disco só pode ser lido; escolha outra pasta",
            Cause::BrokenPipe => "ninguém lê mais a saída",
            Cause::NameTooLong => "o nome é longo demais para este disco",
            Cause::SymbolicLink => "é um link simbólico; use o caminho real",
            Cause::NotPossible => "o sistema não permite isso aqui",
            Cause::NoAddressFamily => "esta máquina não tem este tipo de endereço (IPv4 ou IPv6)",
            Cause::PortInUse => "a porta já está em uso; escolha outra ou feche o outro programa",
            Cause::AddressNotLocal => {
                "o endereço não é desta máquina; veja os que ela tem (ip addr)"
            }
            Cause::NoInterface => "não há esta interface de rede; veja as que existem (ip addr)",
            Cause::Unroutable => "não há caminho de rede até lá; confira o endereço e a rede",
            Cause::ConnectionReset => "o outro lado cortou a conexão",
            Cause::NoAnswer => "sem resposta",
            Cause::ConnectionRefused => "conexão recusada; ninguém escuta ali",
            Cause::ConnectionLost => "conexão perdida",
            Cause::UnknownName => "nome desconhecido; confira a escrita e a rede",
            Cause::NotAnAddress => "não é um endereço",
            Cause::EarlyEnd => "o arquivo acaba antes do esperado",
            Cause::NotText => "o conteúdo não é texto que se entenda",
            Cause::NotAStore => {
                "accounts.sqlite não é um armazém do cardume; escolha outra pasta com --data"
            }
            Cause::StoreClosed => {
                "o armazém não pode ser aberto; veja quem pode ler e gravar a pasta"
            }
            Cause::NameTaken => "outro arquivo tem este nome",
            Cause::DownloadedElsewhere => "outro processo já o baixa",
            Cause::NoFolder => "a pasta não existe",
            Cause::Changing => "muda enquanto é lido; repita quando estiver pronto",
            Cause::FolderShared => {
                "outros podem gravar na pasta, ou ela é de outro usuário: chmod go-w"
            }
            Cause::FolderHeld => {
                "another server holds this folder: outro servidor usa esta pasta; escolha outra com --data, ou --data none"
            }
            Cause::NotInstalled => "não está instalado",
            Cause::OpenFileLimit => {
                "este processo não pode abrir mais arquivos; aumente o limite (ulimit -n)"
            }
            Cause::SizeLimit => {
                "o arquivo é maior do que este disco ou este processo pode gravar (ulimit -f)"
            }
            Cause::NotAKey => "isto não é uma chave",
            Cause::TooLong => "é longo demais",
            Cause::Changed => "o arquivo mudou; repita",
            Cause::NotAFile => "não é um arquivo",
            Cause::NoKey => "não há chave",
            Cause::OtherKey => "a chave não é a que o índice anuncia",
            Cause::NoSharedMemory => {
                "este sistema de arquivos não tem memória compartilhada; escolha outra pasta com --data"
            }
            Cause::LinkGone => "a conexão acabou",
            Cause::NoQuic => "este programa foi compilado sem QUIC",
        }
    }

    fn unknown_cause(&self, code: i32) -> String {
        format!("o sistema recusa (erro {code})")
    }

    fn quic_failed(&self, _: &str) -> String {
        "a conexão QUIC não se abre".to_owned()
    }

    fn not_ours(&self, file: &str) -> String {
        format!("{file}: está no caminho, e não é do cardume")
    }

    fn other_content(&self, file: &str) -> String {
        format!("{file}: guarda uma parte de outro conteúdo")
    }

    fn changed_elsewhere(&self, file: &str) -> String {
        format!("{file}: outro programa o modifica")
    }

    fn prompt(&self, prompt: Prompt) -> &'static str {
        match prompt {
            Prompt::Menu => "JOIN | SEARCH | DOWNLOAD > ",
            Prompt::Command => "> ",
            Prompt::Ip => "IP: ",
            Prompt::Port => "Porta: ",
            Prompt::Folder => "Pasta: ",
            Prompt::Download => "Baixar? [s/N] ",
            Prompt::Choice => "Qual? ",
            Prompt::User => "Usuário: ",
            Prompt::Text => "Texto: ",
            Prompt::Name | Prompt::Goal => "Nome do arquivo: ",
        }
    }

    fn remaining(&self) -> &'static str {
        "falta"
    }

    fn help(&self) -> &'static str {
        "JOIN [IP PORTA PASTA]    entra na rede e compartilha a pasta\n\
             SEARCH [NOME]            quem tem o arquivo?\n\
             DOWNLOAD [IP PORTA]      baixa o último arquivo buscado\n\
             GET [NOME] [b3:RAIZ]     busca e baixa\n\
             PLAY [NOME] [b3:RAIZ]    busca e baixa; a URL toca desde já\n\
             PEERS                    quem está na rede\n\
             LS [IP:PORTA]            o que um peer compartilha\n\
             NOS                      quem está na rede, cada um com seus arquivos\n\
             FIND [TEXTO]             arquivos com este texto no nome ou na descrição\n\
             REGISTER [USUARIO]       registra um nome; UNREGISTER o devolve\n\
             CONNECT [USUARIO]        entra com este nome; DISCONNECT sai\n\
             PUBLISH [NOME] DESCRIÇÃO publica um arquivo; DELETE o retira\n\
             USERS                    quem está conectado\n\
             CONTENT [USUARIO]        o que um usuário publicou\n\
             GETFILE [USUARIO NOME]   baixa um arquivo de um usuário\n\
             TRANSFERS                downloads e uploads; HISTORY mostra os passados\n\
             ADD [NOME]               põe na fila; PAUSE, RESUME, CANCEL e TOP a mudam\n\
             LIMIT UP TAXA DOWN TAXA  limita as taxas; BLOCK recusa um endereço, ALLOW desfaz\n\
             SIM | NAO                responde a um pedido\n\
             LEAVE                    sai da rede\n\
             QUIT                     espera os downloads e termina"
    }

    fn usage_error(&self, error: &UsageError) -> String {
        match error {
            UsageError::UnexpectedArgument(arg) => format!("argumento inesperado: {arg}"),
            UsageError::UnknownCommand(command) => format!("comando desconhecido: {command}"),
            UsageError::MissingValue(arg) => format!("falta um valor para {arg}"),
            UsageError::InvalidValue { value, arg } => {
                format!("valor inválido para {arg}: {value}")
            }
            UsageError::MissingArgument(arg) => format!("falta {arg}"),
            UsageError::Repeated(arg) => format!("{arg} só pode ser usado uma vez"),
            UsageError::Conflict(arg) => {
                format!("{arg} não pode ser usado com os outros argumentos dados")
            }
            UsageError::ConflictWith { arg, prior } => {
                format!("{arg} não pode ser usado junto com {prior}")
            }
            UsageError::NoEquals(arg) => format!("{arg} precisa de = antes do valor"),
            UsageError::WrongNumber(arg) => format!("número errado de valores para {arg}"),
            UsageError::MissingCommand => "falta um comando".into(),
            UsageError::NotUtf8 => "um argumento não é UTF-8".into(),
            UsageError::Other => "argumentos errados".into(),
        }
    }

    fn possible_values(&self, values: &str) -> String {
        format!("; valores possíveis: {values}")
    }

    fn similar(&self, word: &str) -> String {
        format!("; há um parecido: {word}")
    }

    fn see_help(&self, message: &str, help: &str) -> String {
        format!("{message} (veja {help})")
    }

    fn setup(&self, note: &SetupNote) -> String {
        match note {
            SetupNote::PasswordShown => String::from(
                "uma senha na linha de comando é visível a todos os usuários desta máquina; use --index-file ou CARDUME_INDEX",
            ),
            SetupNote::AccountsOnEngine => String::from(
                "as contas ficam no motor, com as de todos os servidores deste índice; outras contas deste servidor não são usadas",
            ),
            SetupNote::AccountsInMemory => String::from(
                "as contas ficam só na memória e acabam com este servidor; --data PASTA as guarda",
            ),
            SetupNote::AccountsIn(folder) => format!("as contas estão na pasta {folder}/"),
            SetupNote::AccountsMoved { old, new } => {
                format!("as contas de uma versão anterior passaram de {old}/ para {new}/")
            }
            SetupNote::AccountsUnused(old) => format!(
                "há outras contas em {old}/ que este servidor não usa; --data {old} usa só essas, server export e import as juntam"
            ),
            SetupNote::NoFolder => String::from(
                "não há lugar para as contas: HOME e XDG_STATE_HOME não dizem nenhum; use --data PASTA, ou --data none para não guardar nada",
            ),
            SetupNote::SeveralFolders(all) => format!(
                "uma versão anterior deixou contas em várias pastas; escolha uma com --data: {all}"
            ),
            SetupNote::Open => {
                "aberto: quem alcança este servidor vê todos os nomes, e nada é cifrado".into()
            }
            SetupNote::NotStarted => "nada foi iniciado".into(),
        }
    }

    fn listen_question(&self) -> ListenQuestion {
        ListenQuestion {
            port: "Porta",
            no_ip: "não é um IP",
            no_port: "não é uma porta (1 a 65535)",
        }
    }

    #[cfg(feature = "loadgen")]
    fn report_words(&self) -> ReportWords {
        ReportWords {
            head: [
                "pedido",
                "respostas",
                "por s",
                "p50 ms",
                "p90 ms",
                "p99 ms",
                "p99,9 ms",
                "máx ms",
                "recusas",
            ],
            peers: "peers",
            files: "arquivos",
            depth: "profundidade",
            own: "CPU do cliente",
            server: "CPU do servidor",
            each: "por pedido",
            wrong: "respostas erradas",
            lost: "conexões perdidas",
        }
    }
}

/// The kind of a server that does not speak the protocol.
fn foreign(kind: &ForeignServer) -> String {
    let text = match kind {
        ForeignServer::Rede => "envia primeiro só um número, como os servidores do rede-p2p",
        ForeignServer::Uc3m => "responde com um dígito, como os servidores do UC3M",
        ForeignServer::Json => {
            "responde com outro JSON, como os servidores do ufabc-json e dos exercícios Napster"
        }
        ForeignServer::Napster => "responde com as palavras dos exercícios Napster",
        ForeignServer::Music => "responde com as palavras dos players de música por UDP",
        ForeignServer::Web => "é um servidor web",
        ForeignServer::Tls => "fala TLS; use um convite desse servidor",
        ForeignServer::Objects(system) => return format!("fala {system}"),
        ForeignServer::Other(text) => return format!("responde `{text}`"),
        ForeignServer::Silent => {
            "aceita a conexão e fica em silêncio, como os servidores do UC3M e do ufabc-json; ou está travado"
        }
        ForeignServer::Closes => {
            "fecha cada conexão sem um byte, como os servidores do UC3M e do Java RMI; ou recusa este endereço"
        }
    };
    text.to_owned()
}
