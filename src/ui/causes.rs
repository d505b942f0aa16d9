//! Why something failed, in the words of a person: the cause, and what helps. What the system, the runtime or a library says in English, with numbers and the
//! names of types, comes in here and goes no further.
//!
//! Failures carry their cause as text, for they cross layers that know no language. [`reworded`] finds what is known in it, by its number or by its words.

use std::io;

use crate::ui::text::Lang;

/// One cause.
struct Cause {
    /// The numbers that Linux has for it.
    codes: &'static [i32],
    /// How it is put in English by the C library, by Rust, by SQLite, or by another layer of ours; in lower case.
    known_as: &'static [&'static str],
    pt: &'static str,
    es: &'static str,
    en: &'static str,
}

const CAUSES: &[Cause] = &[
    Cause {
        codes: &[1, 13],
        known_as: &["permission denied", "operation not permitted"],
        pt: "sem permissão; veja de quem é e quem pode ler e gravar (ls -ld)",
        es: "sin permiso; mire de quién es y quién puede leer y escribir (ls -ld)",
        en: "permission denied; see whose it is and who may read and write it (ls -ld)",
    },
    Cause {
        codes: &[2],
        known_as: &["no such file or directory", "entity not found"],
        pt: "não existe; confira o nome",
        es: "no existe; compruebe el nombre",
        en: "not found; check the name",
    },
    Cause {
        codes: &[5],
        known_as: &["input/output error", "i/o error", "disk i/o error"],
        pt: "o disco falhou ao ler ou gravar; veja as mensagens do sistema (dmesg)",
        es: "el disco ha fallado al leer o escribir; mire los mensajes del sistema (dmesg)",
        en: "the disk failed to read or write; see the messages of the system (dmesg)",
    },
    Cause {
        codes: &[9],
        known_as: &["bad file descriptor"],
        pt: "a saída está fechada",
        es: "la salida está cerrada",
        en: "the output is closed",
    },
    Cause {
        codes: &[11, 16],
        known_as: &[
            "resource temporarily unavailable",
            "operation would block",
            "device or resource busy",
            "resource busy",
            "database is locked",
        ],
        pt: "está em uso por outro processo; tente de novo quando ele terminar",
        es: "lo usa otro proceso; inténtelo otra vez cuando termine",
        en: "another process is using it; try again when that has ended",
    },
    Cause {
        codes: &[12],
        known_as: &["cannot allocate memory", "out of memory"],
        pt: "falta memória; feche outros programas",
        es: "falta memoria; cierre otros programas",
        en: "out of memory; close other programs",
    },
    Cause {
        codes: &[17],
        known_as: &["file exists", "entity already exists"],
        pt: "já existe",
        es: "ya existe",
        en: "it exists already",
    },
    Cause {
        codes: &[20],
        known_as: &["not a directory"],
        pt: "não é uma pasta",
        es: "no es una carpeta",
        en: "not a folder",
    },
    Cause {
        codes: &[21],
        known_as: &["is a directory"],
        pt: "é uma pasta, e não um arquivo",
        es: "es una carpeta, y no un archivo",
        en: "a folder and not a file",
    },
    Cause {
        codes: &[23, 24],
        known_as: &["too many open files", "too many open files in system"],
        pt: "arquivos abertos demais; aumente o limite (ulimit -n)",
        es: "demasiados archivos abiertos; suba el límite (ulimit -n)",
        en: "too many open files; raise the limit (ulimit -n)",
    },
    Cause {
        codes: &[27],
        known_as: &["file too large"],
        pt: "o arquivo é grande demais para este disco ou para o limite do processo (ulimit -f)",
        es: "el archivo es demasiado grande para este disco o para el límite del proceso (ulimit -f)",
        en: "the file is too large for this disk or for the limit of the process (ulimit -f)",
    },
    Cause {
        codes: &[28, 122],
        known_as: &[
            "no space left on device",
            "no storage space",
            "quota exceeded",
            "disk quota exceeded",
            "database or disk is full",
            "the disk is full",
        ],
        pt: "o disco está cheio; libere espaço e repita",
        es: "el disco está lleno; libere espacio y repita",
        en: "the disk is full; make room and run it again",
    },
    Cause {
        codes: &[30],
        known_as: &[
            "read-only file system",
            "read-only filesystem or storage medium",
            "attempt to write a readonly database",
        ],
        pt: "o disco só pode ser lido; escolha outra pasta",
        es: "el disco es de solo lectura; elija otra carpeta",
        en: "the disk is read-only; choose another folder",
    },
    Cause {
        codes: &[32],
        known_as: &["broken pipe", "nobody reads the pipe any more"],
        pt: "ninguém lê mais a saída",
        es: "nadie lee ya la salida",
        en: "nobody reads the output any more",
    },
    Cause {
        codes: &[36],
        known_as: &["file name too long"],
        pt: "o nome é longo demais para este disco",
        es: "el nombre es demasiado largo para este disco",
        en: "the name is too long for this disk",
    },
    Cause {
        codes: &[40],
        known_as: &["too many levels of symbolic links"],
        pt: "é um link simbólico; use o caminho real",
        es: "es un enlace simbólico; use la ruta real",
        en: "a symbolic link; use the real path",
    },
    Cause {
        codes: &[22, 38, 95],
        known_as: &[
            "invalid argument",
            "invalid input parameter",
            "function not implemented",
            "operation not supported",
            "unsupported",
        ],
        pt: "o sistema não permite isso aqui",
        es: "el sistema no permite eso aquí",
        en: "the system cannot do that here",
    },
    Cause {
        codes: &[97],
        known_as: &["address family not supported by protocol"],
        pt: "esta máquina não tem este tipo de endereço (IPv4 ou IPv6)",
        es: "esta máquina no tiene este tipo de dirección (IPv4 o IPv6)",
        en: "this machine has no addresses of this kind (IPv4 or IPv6)",
    },
    Cause {
        codes: &[98],
        known_as: &["address already in use", "address in use"],
        pt: "a porta já está em uso; escolha outra ou feche o outro programa",
        es: "el puerto ya está en uso; elija otro o cierre el otro programa",
        en: "the port is in use already; choose another one, or end the other program",
    },
    Cause {
        codes: &[99],
        known_as: &[
            "cannot assign requested address",
            "can't assign requested address",
            "address not available",
        ],
        pt: "o endereço não é desta máquina; veja os que ela tem (ip addr)",
        es: "la dirección no es de esta máquina; mire las que tiene (ip addr)",
        en: "the address is not one of this machine; see those that it has (ip addr)",
    },
    Cause {
        codes: &[19],
        known_as: &["no such device"],
        pt: "não há esta interface de rede; veja as que existem (ip addr)",
        es: "no existe esta interfaz de red; mire las que hay (ip addr)",
        en: "there is no such network interface; see those that exist (ip addr)",
    },
    Cause {
        codes: &[100, 101, 113],
        known_as: &[
            "network is unreachable",
            "network is down",
            "network unreachable",
            "no route to host",
            "host unreachable",
        ],
        pt: "não há caminho de rede até lá; confira o endereço e a rede",
        es: "no hay camino de red hasta allí; compruebe la dirección y la red",
        en: "no network route leads there; check the address and the network",
    },
    Cause {
        codes: &[103, 104],
        known_as: &[
            "connection reset by peer",
            "connection reset",
            "software caused connection abort",
            "connection aborted",
        ],
        pt: "o outro lado cortou a conexão",
        es: "el otro lado ha cortado la conexión",
        en: "the other side cut the connection",
    },
    Cause {
        codes: &[110],
        known_as: &[
            "connection timed out",
            "timed out",
            "operation timed out",
            "no answer",
            "it does not answer",
        ],
        pt: "sem resposta",
        es: "sin respuesta",
        en: "no answer",
    },
    Cause {
        codes: &[111],
        known_as: &["connection refused"],
        // It stays what people search for.
        pt: "conexão recusada; ninguém escuta ali",
        es: "conexión rechazada; nadie escucha allí",
        en: "connection refused; nobody listens there",
    },
    Cause {
        codes: &[],
        known_as: &["link lost"],
        pt: "conexão perdida",
        es: "conexión perdida",
        en: "link lost",
    },
    Cause {
        codes: &[],
        known_as: &[
            "failed to lookup address information: name or service not known",
            "failed to lookup address information: temporary failure in name resolution",
            "failed to lookup address information: no address associated with hostname",
            "failed to lookup address information: name does not resolve",
            "failed to lookup address information: try again",
            "no address",
        ],
        pt: "nome desconhecido; confira a escrita e a rede",
        es: "nombre desconocido; compruebe cómo se escribe y la red",
        en: "unknown name; check its spelling and the network",
    },
    Cause {
        codes: &[],
        known_as: &["invalid socket address", "invalid port value"],
        pt: "não é um endereço",
        es: "no es una dirección",
        en: "not an address",
    },
    Cause {
        codes: &[],
        known_as: &["unexpected end of file", "failed to fill whole buffer"],
        pt: "o arquivo acaba antes do esperado",
        es: "el archivo acaba antes de lo esperado",
        en: "the file ends too early",
    },
    Cause {
        codes: &[],
        known_as: &["stream did not contain valid utf-8", "invalid data"],
        pt: "o conteúdo não é texto que se entenda",
        es: "el contenido no es texto que se entienda",
        en: "its content is no text that is understood",
    },
    Cause {
        codes: &[],
        known_as: &[
            "file is not a database",
            "database disk image is malformed",
            "accounts.sqlite is no store of cardume",
        ],
        pt: "accounts.sqlite não é um armazém do cardume; escolha outra pasta com --data",
        es: "accounts.sqlite no es un almacén de cardume; elija otra carpeta con --data",
        en: "accounts.sqlite is no store of cardume; choose another folder with --data",
    },
    Cause {
        codes: &[],
        known_as: &["unable to open database file"],
        pt: "o armazém não pode ser aberto; veja quem pode ler e gravar a pasta",
        es: "el almacén no se puede abrir; mire quién puede leer y escribir la carpeta",
        en: "the store cannot be opened; see who may read and write the folder",
    },
    Cause {
        codes: &[],
        known_as: &["another file has that name"],
        pt: "outro arquivo tem este nome",
        es: "otro archivo tiene este nombre",
        en: "another file has that name",
    },
    Cause {
        codes: &[],
        known_as: &["another process is downloading it"],
        pt: "outro processo já o baixa",
        es: "otro proceso ya lo descarga",
        en: "another process is downloading it",
    },
    Cause {
        codes: &[],
        known_as: &["the folder is not there"],
        pt: "a pasta não existe",
        es: "la carpeta no existe",
        en: "the folder is not there",
    },
    Cause {
        codes: &[],
        known_as: &["it changes while it is read"],
        pt: "muda enquanto é lido; repita quando estiver pronto",
        es: "cambia mientras se lee; repita cuando esté listo",
        en: "it changes while it is read; run it again when it is complete",
    },
    Cause {
        codes: &[],
        known_as: &["the folder is not ours alone to write"],
        pt: "outros podem gravar na pasta, ou ela é de outro usuário: chmod go-w",
        es: "otros pueden escribir en la carpeta, o es de otro usuario: chmod go-w",
        en: "the folder is not ours alone to write: chmod go-w",
    },
    Cause {
        codes: &[],
        known_as: &["another server holds this folder"],
        pt: "another server holds this folder: outro servidor usa esta pasta; escolha outra com --data, ou --data none",
        es: "another server holds this folder: otro servidor usa esta carpeta; elija otra con --data, o --data none",
        en: "another server holds this folder; choose another one with --data, or --data none",
    },
    Cause {
        codes: &[],
        known_as: &["it is not installed"],
        pt: "não está instalado",
        es: "no está instalado",
        en: "it is not installed",
    },
    Cause {
        codes: &[],
        known_as: &["this process may open no more files"],
        pt: "este processo não pode abrir mais arquivos; aumente o limite (ulimit -n)",
        es: "este proceso no puede abrir más archivos; suba el límite (ulimit -n)",
        en: "this process may open no more files; raise the limit (ulimit -n)",
    },
    Cause {
        codes: &[],
        known_as: &["the file is larger than this disk or this process may write"],
        pt: "o arquivo é maior do que este disco ou este processo pode gravar (ulimit -f)",
        es: "el archivo es mayor de lo que este disco o este proceso puede escribir (ulimit -f)",
        en: "the file is larger than this disk or this process may write (ulimit -f)",
    },
    Cause {
        codes: &[],
        known_as: &["that is no key"],
        pt: "isto não é uma chave",
        es: "esto no es una clave",
        en: "that is no key",
    },
];

/// What `error` means.
#[must_use]
pub fn of(error: &io::Error, lang: Lang) -> String {
    reworded(&error.to_string(), lang)
}

/// The same text, with what is known of its causes in words of `lang`. The rest, such as the name of a file, stays as it is.
#[must_use]
pub fn reworded(text: &str, lang: Lang) -> String {
    let Some((front, rest)) = text.split_once(NUMBER) else { return by_words(text, lang) };
    let Some((number, behind)) = rest.split_once(')') else { return text.to_owned() };
    let Ok(code) = number.parse::<i32>() else { return text.to_owned() };
    // What the system says stands between the last colon, or bracket, and its number.
    let start = front.rfind([':', '(']).map_or(0, |at| at + 1);
    let (place, said) = front.split_at(start);
    let words = match by_code(code) {
        Some(cause) => cause.words(lang).to_owned(),
        None => by_name(said.trim())
            .map_or_else(|| unknown(code, lang), |cause| cause.words(lang).to_owned()),
    };
    let gap = if place.ends_with(':') { " " } else { "" };
    format!("{place}{gap}{words}{}", reworded(behind, lang))
}

/// Rust puts this before the number of an error.
const NUMBER: &str = " (os error ";

/// What the library of QUIC says begins so; the rest names its own errors.
const OF_QUIC: [&str; 4] =
    ["aborted by peer", "closed by peer", "the cryptographic handshake failed", "sending failed"];

/// What stands behind the name of a file, and the same in each language.
const ENDS: [(&str, [&str; 3]); 2] = [
    (
        " is in the way and not ours",
        [
            ": está no caminho, e não é do cardume",
            ": está en medio, y no es de cardume",
            " is in the way and not ours",
        ],
    ),
    (
        " is changed by another program",
        [
            ": outro programa o modifica",
            ": otro programa lo modifica",
            " is changed by another program",
        ],
    ),
];

/// A cause without its number is the whole text, or all that follows one of its colons.
fn by_words(text: &str, lang: Lang) -> String {
    if let Some(cause) = by_name(text) {
        return cause.words(lang).to_owned();
    }
    if OF_QUIC.iter().any(|known| text.starts_with(known)) {
        return match lang {
            Lang::Pt => "a conexão QUIC não se abre".into(),
            Lang::Es => "la conexión QUIC no se abre".into(),
            Lang::En => "the QUIC connection does not open".into(),
        };
    }
    for (end, words) in ENDS {
        if let Some(name) = text.strip_suffix(end) {
            let [pt, es, en] = words;
            return match lang {
                Lang::Pt => format!("{name}{pt}"),
                Lang::Es => format!("{name}{es}"),
                Lang::En => format!("{name}{en}"),
            };
        }
    }
    for (at, _) in text.match_indices(": ") {
        if let Some(cause) = by_name(&text[at + 2..]) {
            return format!("{}: {}", &text[..at], cause.words(lang));
        }
    }
    text.to_owned()
}

fn by_code(code: i32) -> Option<&'static Cause> {
    CAUSES.iter().find(|cause| cause.codes.contains(&code))
}

fn by_name(said: &str) -> Option<&'static Cause> {
    CAUSES.iter().find(|cause| cause.known_as.iter().any(|known| known.eq_ignore_ascii_case(said)))
}

fn unknown(code: i32, lang: Lang) -> String {
    match lang {
        Lang::Pt => format!("o sistema recusa (erro {code})"),
        Lang::Es => format!("el sistema lo rechaza (error {code})"),
        Lang::En => format!("the system refuses it (error {code})"),
    }
}

impl Cause {
    fn words(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::Pt => self.pt,
            Lang::Es => self.es,
            Lang::En => self.en,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_of_the_system_shows_its_number_or_the_words_of_a_library() {
        for lang in [Lang::Pt, Lang::Es, Lang::En] {
            for code in 1..134 {
                let error = io::Error::from_raw_os_error(code);
                for text in
                    [error.to_string(), format!("a: b.mp4: {error}"), format!("a.mp4 ({error})")]
                {
                    let words = reworded(&text, lang);
                    assert!(!words.contains("os error"), "{words}");
                    assert!(
                        words.starts_with(&text[..text.find(&error.to_string()).unwrap()]),
                        "{words}"
                    );
                    assert!(
                        lang == Lang::En
                            || !words.contains(error.to_string().split(" (os").next().unwrap()),
                        "{words}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_known_has_its_cause_and_its_remedy_and_names_stay() {
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(
            reworded(&format!("a.mp4: {full}"), Lang::Pt),
            "a.mp4: o disco está cheio; libere espaço e repita"
        );
        assert_eq!(
            of(&io::ErrorKind::PermissionDenied.into(), Lang::Es),
            "sin permiso; mire de quién es y quién puede leer y escribir (ls -ld)"
        );
        assert_eq!(
            reworded("the disk is full: is what this file is called", Lang::Pt),
            "the disk is full: is what this file is called"
        );
        assert_eq!(
            reworded(
                "host: failed to lookup address information: Name or service not known",
                Lang::En
            ),
            "host: unknown name; check its spelling and the network"
        );
        assert_eq!(
            of(&io::Error::from_raw_os_error(4_095), Lang::En),
            "the system refuses it (error 4095)"
        );
        assert_eq!(reworded("x (os error y", Lang::En), "x (os error y");
        assert_eq!(
            reworded("d: a.mp4.part is changed by another program", Lang::Es),
            "d: a.mp4.part: otro programa lo modifica"
        );
    }
}
