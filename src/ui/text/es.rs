//! Spanish: every message for people.

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

/// The catalog of messages in Spanish.
pub struct Spanish;

impl Catalog for Spanish {
    fn notice(&self, notice: &Notice) -> String {
        match notice {
            Notice::Listening(at) => format!("a la escucha en {at}"),
            Notice::AlreadyJoined(at) => {
                format!("el peer {at} ya está registrado con esta carpeta")
            }
            Notice::NotHere(file) => {
                format!("{file}: no está en la carpeta; nadie puede descargarlo por ahora")
            }
            Notice::NotKept { name, why } => format!("{name}: no se ha guardado: {why}"),
            Notice::Left => "fuera de la red".into(),
            Notice::Begun { name, from } => format!("{name}: viene de {from}"),
            Notice::Resumed { name, from, held, size } => {
                format!("{name}: sigue desde {from}, {held} de {size} bytes ya están aquí")
            }
            Notice::Unverified { name, folder, is_sized } => {
                let end = if *is_sized {
                    ""
                } else {
                    "; el origen no dijo el tamaño, y puede faltar el final"
                };
                format!(
                    "{name}: ¡sin verificar! Está en {folder}, pero el contenido no se comprobó con ninguna raíz{end}"
                )
            }
            Notice::TcpTakesOver { udp, why } => {
                format!("UDP no llega a {udp}: TCP lo sustituye ({why})")
            }
            Notice::PlayerEnded { player, name } => {
                format!("{name}: {player} ha terminado; la descarga sigue")
            }
            Notice::Unproven(name) => {
                format!("{name}: se reproduce como llega; nada comprueba aún estos bytes")
            }
            Notice::Blamed { name, who } => {
                format!("{name}: {who} dio bytes incorrectos y ya no se usa")
            }
            Notice::Same(name) => format!("{name}: ya está aquí, igual"),
            Notice::Mismatched { failed, of } => format!("{failed} de {of} archivos no coinciden"),
            Notice::Restarted(name) => {
                format!("{name}: ha cambiado en el origen, empieza de nuevo")
            }
            Notice::ServerLost { server, why } => {
                format!("sin servidor en {server} ({why}); lo intento otra vez")
            }
            Notice::ServerFound(server) => format!("servidor {server} encontrado"),
            Notice::Incomplete => {
                "servidores que no pudieron ser consultados pueden conocer más".into()
            }
            Notice::MoreFound => "hay más; --limit N muestra más".into(),
            Notice::Consent { who, name } => {
                format!("{who} pide {name}. ¿Desea aprobar la descarga? (SI/NO)")
            }
            Notice::Drop(DropEvent::Asked { who, name, size }) => {
                format!("{who} quiere darle {name} ({size} bytes). ¿Desea aceptar? (SI/NO)")
            }
            Notice::Drop(DropEvent::Expired(name)) => {
                format!("{name}: sin respuesta, el archivo fue rechazado")
            }
            Notice::Drop(DropEvent::Stored { who, name, .. }) => format!("{who} le dio {name}"),
            Notice::ConsentExpired(name) => {
                format!("{name}: sin respuesta, la descarga fue rechazada")
            }
        }
    }

    fn folder_note(&self, folder: &str, note: &FolderNote) -> String {
        match note {
            FolderNote::LeftOut { total, reasons } => format!(
                "{folder}: {total} no se comparten: {reasons} (cardume ls --skipped dice cuáles)"
            ),
            FolderNote::Missing => {
                format!("{folder}: la carpeta no está; nada de ella se comparte hasta que vuelva")
            }
            FolderNote::Back => format!("{folder}: la carpeta ha vuelto"),
            FolderNote::Blind(Blind::Limit) => format!(
                "{folder}: hay demasiadas carpetas para inotify (fs.inotify.max_user_watches); los cambios se buscan de vez en cuando"
            ),
            FolderNote::Blind(Blind::Network) => {
                format!("{folder}: está en la red; los cambios se buscan de vez en cuando")
            }
            FolderNote::Blind(Blind::Unsupported) => {
                format!("{folder}: el sistema no avisa de cambios; se buscan de vez en cuando")
            }
        }
    }

    fn barred(&self, why: Barred) -> &'static str {
        match why {
            Barred::Name => "nombre no permitido",
            Barred::Encoding => "nombre que no es UTF-8",
            Barred::Deep => "demasiado profundo",
            Barred::Hidden => "oculto",
            Barred::Partial => "descarga en curso",
            Barred::Kind => "no es un archivo normal",
            Barred::Unreadable => "ilegible",
            Barred::Secret => "clave secreta",
            Barred::Ours => "datos del propio cardume",
            Barred::Excluded => "excluido",
        }
    }

    fn more_names(&self, more: u64) -> String {
        format!("y {more} más")
    }

    fn wait_reason(&self, why: &WaitReason) -> String {
        match why {
            WaitReason::Consent => "espera la aprobación del otro lado".into(),
            WaitReason::Slot(place) => format!("en la cola, puesto {place}"),
            WaitReason::Source => "origen perdido, lo intento otra vez".into(),
            WaitReason::Silence => "parado: no llega nada".into(),
            WaitReason::Nobody => "nadie lo tiene todavía, espero".into(),
            WaitReason::Hashing => "el dueño todavía calcula el hash del archivo".into(),
            WaitReason::Disk => "espera el disco".into(),
        }
    }

    fn failure(&self, failure: &Failure) -> String {
        match failure {
            Failure::NoServer(at) => {
                let at = at.map(|at| at.to_string()).unwrap_or_default();
                format!("ningún servidor responde en {at}")
            }
            Failure::Foreign(at, kind) => format!("{at} no habla el protocolo: {}", foreign(kind)),
            Failure::AuditRow(row) => {
                format!("otro programa ha cambiado la línea {row} del registro de auditoría")
            }
            Failure::Invite(why) => why.clone(),
            Failure::ServerKey { at, known, shown } => {
                let shown = shown.map_or("de otro tipo".to_owned(), |key| key.to_string());
                format!(
                    "{at} tiene la clave {shown}, y la conocida es {known}: no se ha enviado nada; si el servidor tiene una clave nueva, use cardume join --replace INVITACIÓN"
                )
            }
            Failure::NoSite => "el servidor no tiene certificado para navegadores".into(),
            Failure::WrongKey(at) => {
                format!("{at} tiene otra clave, no la esperada: no se envió nada")
            }
            Failure::NoHost(host, why) => {
                format!("servidor {host}: dirección no encontrada ({why})")
            }
            Failure::Name(text, why) => format!("{}: {}", printable(text), self.bad_name(*why)),
            Failure::Refused(refusal) | Failure::Operation(_, refusal) => self.refusal(refusal),
            Failure::NoOwnPeer => {
                "no se encontró ningún peer suyo; indique uno en marcha con --peer IP:PORT".into()
            }
            Failure::NotFound(name) => format!("{name}: nadie tiene este archivo"),
            Failure::FolderFiles { name, failed, of, .. } => {
                format!("{name}/: faltan {failed} de {of} archivos; repita el comando para continuar")
            }
            Failure::Ambiguous(name) => {
                format!("{name}: hay archivos distintos con este nombre; elija uno con --hash")
            }
            Failure::OtherContent { part, root, held } => {
                let of = root.map_or_else(String::new, |root| format!(" (--hash b3:{root})"));
                format!(
                    "{part}: guarda {held} bytes de otro contenido{of}, y queda como está; elija otro nombre con -o, o borre {part}"
                )
            }
            Failure::BadBytes(name, who) => {
                format!("{name}: {who} dio bytes incorrectos, y no hay otro origen")
            }
            Failure::Root(text) => format!("{text}: esperaba b3: y 64 dígitos hexadecimales"),
            Failure::NoSource(name) => {
                format!("{name}: ningún origen responde; la misma orden sigue después")
            }
            Failure::Lost(name) => format!(
                "{name}: se perdieron datagramas en el camino, y el archivo está incompleto; los bytes quedan en el .part"
            ),
            Failure::Unended(name, bytes) => format!(
                "{name}: llegaron {bytes} bytes, y el origen no dice si son todos; quedan en el .part, sin el nombre final"
            ),
            Failure::Protocol(_) => {
                "el otro lado no habla el protocolo (RUST_LOG=info muestra el detalle)".into()
            }
            Failure::Disk(text) => format!("disco: {text}"),
            Failure::NoReader => "nadie lee ya la salida".into(),
            Failure::NoFolder(folder) => format!("{folder}: la carpeta no existe"),
            Failure::Port(at, why) => format!("no puedo escuchar en {at}: {why}"),
            Failure::Unseen(at, server) => format!(
                "nadie hallaría este peer: escucha en {at}, pero el servidor {server} lo ve por la otra familia de direcciones; use --listen '[::]:{}' o --advertise",
                at.port()
            ),
            Failure::Unknown(word) => format!("{word}: orden desconocida (help las muestra)"),
            Failure::Named(_, why) => self.failure(why),
            Failure::Usage(how) => format!("uso: {how}"),
            Failure::Wrong(what) => format!("esperaba: {what}"),
            Failure::Player(player, why) => format!("{player}: no se puede iniciar: {why}"),
            Failure::SearchFirst => "SEARCH va antes de DOWNLOAD".into(),
            Failure::NoQuestion => "nadie pregunta nada".into(),
            Failure::NotJoined => "JOIN va antes".into(),
            Failure::AccountsEngine(why) => of_accounts(&self.failure(&Failure::Engine(*why))),
            Failure::Engine(why) => match why {
                EngineRefusal::Version => "el motor de --index es anterior a Redis 7.0; actualice el motor",
                EngineRefusal::Evicts => "el motor de --index descarta claves con la memoria llena; configure maxmemory-policy noeviction",
                EngineRefusal::NeedsPassword => "el motor de --index pide una contraseña; ponga la URL con la contraseña en --index-file o CARDUME_INDEX",
                EngineRefusal::WrongPassword => "el motor de --index rechaza ese usuario o contraseña",
                EngineRefusal::Replica => "el motor de --index es una réplica y no acepta escrituras; indique la dirección del maestro",
                EngineRefusal::NoEngine => "la dirección de --index no habla el protocolo de Redis",
                EngineRefusal::Untrusted(CertificateFault::Authority) => "ninguna autoridad conocida firmó el certificado del motor de --index; indique el certificado de la autoridad con --index-ca ARCHIVO",
                EngineRefusal::Untrusted(CertificateFault::Name) => "el certificado del motor de --index es de otros nombres; debe tener la dirección del nodo o un host de la URL",
                EngineRefusal::Untrusted(CertificateFault::Time) => "el certificado del motor de --index ha caducado o aún no es válido",
                EngineRefusal::Untrusted(CertificateFault::Form) => "el certificado del motor de --index no sirve para un servidor",
            }
            .into(),
        }
    }

    fn member(&self, note: &MemberNotice) -> String {
        match note {
            MemberNotice::Enrolled { server, name, role } => {
                format!("ha entrado en {server}; aquí es {name} ({role})")
            }
            MemberNotice::Pending { key } => {
                format!("esperando a que un administrador admita la clave {key}")
            }
            MemberNotice::Invite { uses, lasts } => {
                format!("la invitación es secreta: vale para {uses}, durante {lasts}")
            }
            MemberNotice::Closed(count) => format!("conexiones cerradas: {count}"),
            MemberNotice::Revoked(count) => format!("revocados: {count}"),
            MemberNotice::Pruned(count) => {
                format!(
                    "el registro guarda las líneas desde {}; se han eliminado {count} líneas anteriores",
                    count + 1
                )
            }
        }
    }

    fn link(&self, note: &LinkNotice) -> String {
        let LinkNotice { id, lasts, command, is_here_only } = note;
        let here = if *is_here_only {
            "; en esta dirección, solo en esta máquina; --host indica otra"
        } else {
            ""
        };
        format!(
            "el enlace {id} es secreto: da el archivo durante {lasts}, y termina con el peer{here}:\n{command}"
        )
    }

    fn totals(&self, totals: &TransferTotals) -> String {
        let limit = |rate: Option<u64>| {
            rate.map_or_else(|| "sin límite".to_owned(), |rate| format!("como máximo {rate}/s"))
        };
        let (up, down) = (limit(totals.up), limit(totals.down));
        let TransferTotals { sent, received, .. } = totals;
        format!("{sent} bytes enviados, {up}; {received} bytes recibidos, {down}")
    }

    fn bad_name(&self, why: BadName) -> &'static str {
        match why {
            BadName::Empty => "el nombre de un archivo no puede estar vacío",
            BadName::Long => "el nombre de un archivo tiene como máximo 255 bytes",
            BadName::Dots => "no es nombre de archivo",
            BadName::Separator => "el nombre de un archivo no puede contener / ni \\",
            BadName::Control | BadName::Direction => {
                "el nombre de un archivo no puede contener caracteres de control"
            }
            BadName::Deep => {
                "el nombre pasa por demasiadas carpetas (16) o es demasiado largo (1024 bytes)"
            }
            BadName::Reserved => {
                "los nombres que terminan en .part o .part.record están reservados"
            }
        }
    }

    fn refusal(&self, reply: &ErrorReply) -> String {
        let (why, code) = (self.error_code(reply.code), reply.code.as_str());
        match reason(reply) {
            None => format!("rechazado: {why} ({code})"),
            Some(reason) => format!("rechazado: {why} ({code}: {reason})"),
        }
    }

    fn error_code(&self, code: ErrorCode) -> &'static str {
        match code {
            ErrorCode::BadRequest => "la petición no tiene sentido",
            ErrorCode::BadName => "el nombre no puede ser de un archivo",
            ErrorCode::Unsupported => "el otro lado no tiene esta operación",
            ErrorCode::Version => "el otro lado habla otra versión del protocolo",
            ErrorCode::TooLarge => "supera un límite",
            ErrorCode::NotJoined => "JOIN va antes",
            ErrorCode::Address => "esta dirección no se puede anunciar aquí",
            ErrorCode::InUse => "otro peer tiene esta dirección",
            ErrorCode::NotFound => "no encontrado",
            ErrorCode::Refused => "el otro lado no lo permite",
            ErrorCode::Busy => "el otro lado está ocupado; inténtelo más tarde",
            ErrorCode::Changed => "el archivo ha cambiado",
            ErrorCode::Range => "el tramo empieza después del final del archivo",
            ErrorCode::Cancelled => "cancelado",
            ErrorCode::Unavailable => {
                "el índice de los servidores no responde ahora; inténtelo de nuevo"
            }
            ErrorCode::Io => "el disco del otro lado ha fallado",
            ErrorCode::Internal => "el otro lado ha fallado",
            ErrorCode::Taken => "el nombre ya es de alguien",
            ErrorCode::NoUser => "nadie está registrado con ese nombre",
            ErrorCode::NoRemoteUser => "no hay usuario con ese nombre",
            ErrorCode::Connected => "esta conexión ya tiene un usuario",
            ErrorCode::NotConnected => "el usuario no está conectado",
            ErrorCode::Published => "ese archivo ya está publicado",
            ErrorCode::NotPublished => "ese archivo no está publicado",
            ErrorCode::BadProof => "el nombre no pertenece a esta clave",
            ErrorCode::AccountRequired => {
                "este servidor solo acepta a quien tiene cuenta: use --user"
            }
            ErrorCode::NotMember => {
                "el servidor es cerrado: entre con una invitación (cardume join)"
            }
            ErrorCode::BadToken => "la invitación no existe, ya se usó o ha vencido",
            ErrorCode::Forbidden => "su papel en este servidor no permite eso",
            ErrorCode::Expired => "el pase ha vencido",
            ErrorCode::Kicked => "un administrador ha cerrado la conexión",
            ErrorCode::Banned => "un administrador ha vetado esta clave",
            ErrorCode::EncryptedOnly => {
                "es cerrado y solo acepta conexiones cifradas: use cardume join"
            }
        }
    }

    fn cause(&self, cause: Cause) -> &'static str {
        match cause {
            Cause::PermissionDenied => {
                "sin permiso; mire de quién es y quién puede leer y escribir (ls -ld)"
            }
            Cause::NotFound => "no existe; compruebe el nombre",
            Cause::DiskFailed => {
                "el disco ha fallado al leer o escribir; mire los mensajes del sistema (dmesg)"
            }
            Cause::OutputClosed => "la salida está cerrada",
            Cause::InUse => "lo usa otro proceso; inténtelo otra vez cuando termine",
            Cause::OutOfMemory => "falta memoria; cierre otros programas",
            Cause::Exists => "ya existe",
            Cause::NotAFolder => "no es una carpeta",
            Cause::IsAFolder => "es una carpeta, y no un archivo",
            Cause::TooManyOpen => "demasiados archivos abiertos; suba el límite (ulimit -n)",
            Cause::TooLarge => {
                "el archivo es demasiado grande para este disco o para el límite del proceso (ulimit -f)"
            }
            Cause::DiskFull => "el disco está lleno; libere espacio y repita",
            Cause::ReadOnly => "el disco es de solo lectura; elija otra carpeta",
            Cause::BrokenPipe => "nadie lee ya la salida",
            Cause::NameTooLong => "el nombre es demasiado largo para este disco",
            Cause::SymbolicLink => "es un enlace simbólico; use la ruta real",
            Cause::NotPossible => "el sistema no permite eso aquí",
            Cause::NoAddressFamily => "esta máquina no tiene este tipo de dirección (IPv4 o IPv6)",
            Cause::PortInUse => "el puerto ya está en uso; elija otro o cierre el otro programa",
            Cause::AddressNotLocal => {
                "la dirección no es de esta máquina; mire las que tiene (ip addr)"
            }
            Cause::NoInterface => "no existe esta interfaz de red; mire las que hay (ip addr)",
            Cause::Unroutable => "no hay camino de red hasta allí; compruebe la dirección y la red",
            Cause::ConnectionReset => "el otro lado ha cortado la conexión",
            Cause::NoAnswer => "sin respuesta",
            Cause::ConnectionRefused => "conexión rechazada; nadie escucha allí",
            Cause::ConnectionLost => "conexión perdida",
            Cause::UnknownName => "nombre desconocido; compruebe cómo se escribe y la red",
            Cause::NotAnAddress => "no es una dirección",
            Cause::EarlyEnd => "el archivo acaba antes de lo esperado",
            Cause::NotText => "el contenido no es texto que se entienda",
            Cause::NotAStore => {
                "accounts.sqlite no es un almacén de cardume; elija otra carpeta con --data"
            }
            Cause::StoreClosed => {
                "el almacén no se puede abrir; mire quién puede leer y escribir la carpeta"
            }
            Cause::NameTaken => "otro archivo tiene este nombre",
            Cause::DownloadedElsewhere => "otro proceso ya lo descarga",
            Cause::NoFolder => "la carpeta no existe",
            Cause::Changing => "cambia mientras se lee; repita cuando esté listo",
            Cause::FolderShared => {
                "otros pueden escribir en la carpeta, o es de otro usuario: chmod go-w"
            }
            Cause::FolderHeld => {
                "another server holds this folder: otro servidor usa esta carpeta; elija otra con --data, o --data none"
            }
            Cause::NotInstalled => "no está instalado",
            Cause::OpenFileLimit => {
                "este proceso no puede abrir más archivos; suba el límite (ulimit -n)"
            }
            Cause::SizeLimit => {
                "el archivo es mayor de lo que este disco o este proceso puede escribir (ulimit -f)"
            }
            Cause::NotAKey => "esto no es una clave",
            Cause::TooLong => "es demasiado largo",
            Cause::Changed => "el archivo ha cambiado; repita",
            Cause::NotAFile => "no es un archivo",
            Cause::NoKey => "no hay clave",
            Cause::OtherKey => "la clave no es la que anuncia el índice",
            Cause::NoSharedMemory => {
                "este sistema de archivos no tiene memoria compartida; elija otra carpeta con --data"
            }
            Cause::LinkGone => "la conexión se ha acabado",
            Cause::NoQuic => "este programa se compiló sin QUIC",
        }
    }

    fn unknown_cause(&self, code: i32) -> String {
        format!("el sistema lo rechaza (error {code})")
    }

    fn quic_failed(&self, _: &str) -> String {
        "la conexión QUIC no se abre".to_owned()
    }

    fn not_ours(&self, file: &str) -> String {
        format!("{file}: está en medio, y no es de cardume")
    }

    fn other_content(&self, file: &str) -> String {
        format!("{file}: guarda una parte de otro contenido")
    }

    fn changed_elsewhere(&self, file: &str) -> String {
        format!("{file}: otro programa lo modifica")
    }

    fn prompt(&self, prompt: Prompt) -> &'static str {
        match prompt {
            Prompt::Menu => "JOIN | SEARCH | DOWNLOAD > ",
            Prompt::Command => "> ",
            Prompt::Ip => "IP: ",
            Prompt::Port => "Puerto: ",
            Prompt::Folder => "Carpeta: ",
            Prompt::Download => "¿Descargar? [s/N] ",
            Prompt::Choice => "¿Cuál? ",
            Prompt::User => "Usuario: ",
            Prompt::Text => "Texto: ",
            Prompt::Name | Prompt::Goal => "Nombre del archivo: ",
        }
    }

    fn remaining(&self) -> &'static str {
        "falta"
    }

    fn help(&self) -> &'static str {
        "JOIN [IP PUERTO CARPETA] entra en la red y comparte la carpeta\n\
             SEARCH [NOMBRE]          ¿quién tiene el archivo?\n\
             DOWNLOAD [IP PUERTO]     descarga el último archivo buscado\n\
             GET [NOMBRE] [b3:RAÍZ]   busca y descarga\n\
             PLAY [NOMBRE] [b3:RAÍZ]  busca y descarga; la URL se reproduce ya\n\
             PEERS                    quién está en la red\n\
             LS [IP:PUERTO]           qué comparte un peer\n\
             NODOS                    quién está en la red, cada uno con sus archivos\n\
             FIND [TEXTO]             archivos con este texto en el nombre o la descripción\n\
             REGISTER [USUARIO]       registra un nombre; UNREGISTER lo devuelve\n\
             CONNECT [USUARIO]        entra con este nombre; DISCONNECT sale\n\
             PUBLISH [NOMBRE] TEXTO   publica un archivo; DELETE lo retira\n\
             USERS                    quién está conectado\n\
             CONTENT [USUARIO]        qué ha publicado un usuario\n\
             GETFILE [USUARIO NOMBRE] descarga un archivo de un usuario\n\
             TRANSFERS                descargas y subidas; HISTORY muestra las pasadas\n\
             ADD [NOMBRE]             pone en la cola; PAUSE, RESUME, CANCEL y TOP la cambian\n\
             LIMIT UP TASA DOWN TASA  limita las tasas; BLOCK rechaza una dirección, ALLOW lo anula\n\
             SI | NO                  responde a una petición\n\
             LEAVE                    sale de la red\n\
             QUIT                     espera las descargas y termina"
    }

    fn usage_error(&self, error: &UsageError) -> String {
        match error {
            UsageError::UnexpectedArgument(arg) => format!("argumento inesperado: {arg}"),
            UsageError::UnknownCommand(command) => format!("orden desconocida: {command}"),
            UsageError::MissingValue(arg) => format!("falta un valor para {arg}"),
            UsageError::InvalidValue { value, arg } => {
                format!("valor no válido para {arg}: {value}")
            }
            UsageError::MissingArgument(arg) => format!("falta {arg}"),
            UsageError::Repeated(arg) => format!("{arg} solo se puede usar una vez"),
            UsageError::Conflict(arg) => {
                format!("{arg} no se puede usar con los otros argumentos dados")
            }
            UsageError::ConflictWith { arg, prior } => {
                format!("{arg} no se puede usar junto con {prior}")
            }
            UsageError::NoEquals(arg) => format!("{arg} necesita = antes del valor"),
            UsageError::WrongNumber(arg) => format!("número incorrecto de valores para {arg}"),
            UsageError::MissingCommand => "falta una orden".into(),
            UsageError::NotUtf8 => "un argumento no es UTF-8".into(),
            UsageError::Other => "argumentos incorrectos".into(),
        }
    }

    fn possible_values(&self, values: &str) -> String {
        format!("; valores posibles: {values}")
    }

    fn similar(&self, word: &str) -> String {
        format!("; hay uno parecido: {word}")
    }

    fn see_help(&self, message: &str, help: &str) -> String {
        format!("{message} (vea {help})")
    }

    fn setup(&self, note: &SetupNote) -> String {
        match note {
            SetupNote::PasswordShown => String::from(
                "una contraseña en la línea de comandos es visible para todos los usuarios de esta máquina; use --index-file o CARDUME_INDEX",
            ),
            SetupNote::AccountsOnEngine => String::from(
                "las cuentas están en el motor, con las de todos los servidores de este índice; otras cuentas de este servidor no se usan",
            ),
            SetupNote::AccountsInMemory => String::from(
                "las cuentas quedan solo en memoria y acaban con este servidor; --data CARPETA las guarda",
            ),
            SetupNote::AccountsIn(folder) => format!("las cuentas están en la carpeta {folder}/"),
            SetupNote::AccountsMoved { old, new } => {
                format!("las cuentas de una versión anterior han pasado de {old}/ a {new}/")
            }
            SetupNote::AccountsUnused(old) => format!(
                "hay otras cuentas en {old}/ que este servidor no usa; --data {old} usa solo esas, server export e import las juntan"
            ),
            SetupNote::NoFolder => String::from(
                "no hay lugar para las cuentas: HOME y XDG_STATE_HOME no dicen ninguno; use --data CARPETA, o --data none para no guardar nada",
            ),
            SetupNote::SeveralFolders(all) => format!(
                "una versión anterior ha dejado cuentas en varias carpetas; elija una con --data: {all}"
            ),
            SetupNote::Open => {
                "abierto: quien alcanza este servidor ve todos los nombres, y nada se cifra".into()
            }
            SetupNote::NotStarted => "no se ha iniciado nada".into(),
        }
    }

    fn listen_question(&self) -> ListenQuestion {
        ListenQuestion {
            port: "Puerto",
            no_ip: "no es una IP",
            no_port: "no es un puerto (1 a 65535)",
        }
    }

    #[cfg(feature = "loadgen")]
    fn report_words(&self) -> ReportWords {
        ReportWords {
            head: [
                "petición",
                "respuestas",
                "por s",
                "p50 ms",
                "p90 ms",
                "p99 ms",
                "p99,9 ms",
                "máx ms",
                "negativas",
            ],
            peers: "peers",
            files: "archivos",
            depth: "profundidad",
            own: "CPU del cliente",
            server: "CPU del servidor",
            each: "por petición",
            wrong: "respuestas erróneas",
            lost: "conexiones perdidas",
        }
    }
}

/// The kind of a server that does not speak the protocol.
fn foreign(kind: &ForeignServer) -> String {
    let text = match kind {
        ForeignServer::Rede => "primero envía solo un número, como los servidores de rede-p2p",
        ForeignServer::Uc3m => "responde con un dígito, como los servidores de UC3M",
        ForeignServer::Json => {
            "responde con otro JSON, como los servidores de ufabc-json y de los ejercicios Napster"
        }
        ForeignServer::Napster => "responde con las palabras de los ejercicios Napster",
        ForeignServer::Music => "responde con las palabras de los reproductores de música por UDP",
        ForeignServer::Web => "es un servidor web",
        ForeignServer::Tls => "habla TLS; use una invitación de ese servidor",
        ForeignServer::Objects(system) => return format!("habla {system}"),
        ForeignServer::Other(text) => return format!("responde `{text}`"),
        ForeignServer::Silent => {
            "acepta la conexión y no dice nada, como los servidores de UC3M y de ufabc-json; o está bloqueado"
        }
        ForeignServer::Closes => {
            "cierra cada conexión sin un byte, como los servidores de UC3M y de Java RMI; o rechaza esta dirección"
        }
    };
    text.to_owned()
}
