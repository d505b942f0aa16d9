//! The list of commands of the usual console.

use crate::ui::text::Lang;

/// All commands, one a line.
#[must_use]
pub fn help(lang: Lang) -> &'static str {
    match lang {
        Lang::Pt => {
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
             SIM | NAO                responde a um pedido\n\
             LEAVE                    sai da rede\n\
             QUIT                     espera os downloads e termina"
        }
        Lang::Es => {
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
             SI | NO                  responde a una petición\n\
             LEAVE                    sale de la red\n\
             QUIT                     espera las descargas y termina"
        }
        Lang::En => {
            "JOIN [IP PORT FOLDER]    enters the network and shares the folder\n\
             SEARCH [NAME]            who has the file?\n\
             DOWNLOAD [IP PORT]       downloads the file last searched\n\
             GET [NAME] [b3:ROOT]     searches and downloads\n\
             PLAY [NAME] [b3:ROOT]    searches and downloads; its URL plays at once\n\
             PEERS                    who is in the network\n\
             LS [IP:PORT]             what a peer shares\n\
             NODES                    who is in the network, each with its files\n\
             FIND [TEXT]              files with this text in their name or description\n\
             REGISTER [USER]          takes a user name; UNREGISTER gives it back\n\
             CONNECT [USER]           comes in by this name; DISCONNECT goes\n\
             PUBLISH [NAME] TEXT      publishes a file; DELETE takes it back\n\
             USERS                    who is connected\n\
             CONTENT [USER]           what a user has published\n\
             GETFILE [USER NAME]      downloads a file from a user\n\
             YES | NO                 answers a request\n\
             LEAVE                    leaves the network\n\
             QUIT                     waits for downloads and ends"
        }
    }
}
