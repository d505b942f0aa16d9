//! The command line in Spanish.

use crate::cli::translate::Table;

/// All texts, in the order in which a user meets them.
pub const TABLE: Table = Table { help: HELP, frame: FRAME, messages: MESSAGES };

/// Texts of the command definitions.
const HELP: &[(&str, &str)] = &[
    (
        "The folder of the download queue, the history and the blocked requesters, so that a restart goes on where the peer ended; created if missing. Without the folder, these are in memory",
        "La carpeta de la cola de descargas, del historial y de los bloqueos, para que un reinicio siga donde el peer terminó; se crea si falta. Sin la carpeta, quedan en memoria",
    ),
    (
        "Downloads of the queue at the same time; a GET of the console does not wait",
        "Descargas de la cola a la vez; un GET de la consola no espera",
    ),
    (
        "List the downloads and uploads of your running peer",
        "Lista las descargas y subidas de su peer en marcha",
    ),
    (
        "number, way, state, bytes here, size, rate, name, peer",
        "número, sentido, estado, bytes aquí, tamaño, tasa, nombre, peer",
    ),
    (
        "The commands transfers, add, pause, resume, cancel, top, limit, block, allow, blocked and history ask a running peer of the same user by a socket. With --state DIR, a peer keeps its queue, its history and its blocks over a restart. Exit code 3 if no peer runs, 2 if several run and none was chosen.",
        "Los comandos transfers, add, pause, resume, cancel, top, limit, block, allow, blocked e history piden a un peer en marcha del mismo usuario, por un socket. Con --state DIR, un peer guarda la cola, el historial y los bloqueos en un reinicio. Código de salida 3 si ningún peer está en marcha, 2 si hay varios y no se eligió ninguno.",
    ),
    ("Only the uploads", "Solo las subidas"),
    ("Only the downloads", "Solo las descargas"),
    (
        "The state folder of the running peer, as its --state [default: the only running peer of this user]",
        "La carpeta de estado del peer en marcha, como su --state [por defecto: el único peer en marcha de este usuario]",
    ),
    ("The number of the process of the running peer", "El número del proceso del peer en marcha"),
    (
        "Append files or folders to the download queue of your running peer",
        "Añade archivos o carpetas a la cola de descargas de su peer en marcha",
    ),
    (
        "A file without a provider is looked up again, first after 15 seconds, at last each 10 minutes.",
        "Un archivo sin proveedor se busca de nuevo, primero tras 15 segundos, al final cada 10 minutos.",
    ),
    (
        "A file with one name a line, after the names given here; `-` is stdin",
        "Un archivo con un nombre por línea, tras los nombres dados aquí; `-` es la entrada estándar",
    ),
    ("Download from this peer alone", "Descarga solo de este peer"),
    ("Do not begin before `cardume resume`", "No empieza antes de `cardume resume`"),
    (
        "Stop downloads of your running peer; `cardume resume` continues them",
        "Detiene descargas de su peer en marcha; `cardume resume` las continúa",
    ),
    (
        "Numbers or names, as `cardume transfers` prints them",
        "Números o nombres, como los muestra `cardume transfers`",
    ),
    ("All downloads of the queue", "Todas las descargas de la cola"),
    (
        "Continue paused or failed downloads of your running peer",
        "Continúa descargas pausadas o fallidas de su peer en marcha",
    ),
    (
        "Remove downloads from the queue of your running peer; the bytes so far stay in the .part",
        "Quita descargas de la cola de su peer en marcha; los bytes recibidos quedan en el .part",
    ),
    (
        "Move downloads to the front of the queue of your running peer",
        "Mueve descargas al principio de la cola de su peer en marcha",
    ),
    (
        "Show or set the rate limits of your running peer, until the peer restarts",
        "Muestra o fija los límites de tasa de su peer en marcha, hasta que reinicie",
    ),
    (
        "At the hours of --schedule, its limits hold instead.",
        "En las horas de --schedule valen los límites de allí.",
    ),
    (
        "Bytes sent per second, over all uploads; `none` lifts the limit",
        "Bytes enviados por segundo, sumando todas las subidas; `none` quita el límite",
    ),
    (
        "Bytes received per second, over all downloads; `none` lifts the limit",
        "Bytes recibidos por segundo, sumando todas las descargas; `none` quita el límite",
    ),
    (
        "Refuse all requests of an address or a member at your running peer, and cut its uploads",
        "Rechaza todas las peticiones de una dirección o un miembro en su peer en marcha, y corta sus subidas",
    ),
    ("a member of a closed server", "un miembro de un servidor cerrado"),
    (
        "The requester reads the code `refused`. A member can also be named by the key.",
        "El solicitante lee el código `refused`. Un miembro también se puede nombrar por la clave.",
    ),
    (
        "An address, a range such as 10.0.0.0/8, the key of a member, or the name of a member",
        "Una dirección, un rango como 10.0.0.0/8, la clave de un miembro, o el nombre de un miembro",
    ),
    (
        "Serve a blocked address or member again",
        "Vuelve a servir a una dirección o un miembro bloqueado",
    ),
    (
        "List the blocked addresses and members of your running peer",
        "Lista las direcciones y los miembros bloqueados de su peer en marcha",
    ),
    (
        "List the past downloads and uploads of your running peer",
        "Lista las descargas y subidas pasadas de su peer en marcha",
    ),
    ("time, outcome, size, name, peer", "hora, resultado, tamaño, nombre, peer"),
    (
        "An upload is all that a connection has fetched of a file, and ends with the connection. The last 10,000 transfers are kept.",
        "Una subida es todo lo que una conexión ha pedido de un archivo, y termina con la conexión. Se guardan las últimas 10.000 transferencias.",
    ),
    (
        "The most transfers to print, the newest last",
        "El máximo de transferencias a mostrar, la más nueva al final",
    ),
    (
        "Print results and errors alone: no notes, no progress",
        "Muestra solo resultados y errores: sin notas ni progreso",
    ),
    (
        "End a one-shot command with code 5 when it is not done after so many seconds; repeat the command to resume",
        "Termina una orden única con código 5 si no acabó tras tantos segundos; repita la orden para continuar",
    ),
    (
        "Print the names, peers or users that begin with a word, for the completions of a shell",
        "Muestra los nombres, peers o usuarios que empiezan con una palabra, para completar en un shell",
    ),
    ("What the word names", "Lo que la palabra nombra"),
    ("The begin of the word", "El comienzo de la palabra"),
    (
        "Copy the accounts, the members and the keys into a new folder; the server may be running",
        "Copia las cuentas, los miembros y las claves a una carpeta nueva; el servidor puede estar en ejecución",
    ),
    (
        "The copy is that of one moment, checked as a whole, and readable for this user alone. It has the secret key of the server: keep it as safe as the server.",
        "La copia es la de un instante, comprobada entera, y solo este usuario puede leerla. Tiene la clave secreta del servidor: guárdela tan bien como el servidor.",
    ),
    (
        "Restore such a copy into a folder without accounts; the server must be stopped",
        "Restaura una copia así en una carpeta sin cuentas; el servidor debe estar parado",
    ),
    (
        "An existing store is never replaced: move its folder away first.",
        "Las cuentas existentes nunca se sustituyen: mueva antes su carpeta.",
    ),
    ("The folder of the copy", "La carpeta de la copia"),
    (
        "The folder of unfinished downloads, on the same file system [default: the folder of the downloads]",
        "La carpeta de las descargas incompletas, en el mismo sistema de archivos [por defecto: la carpeta de las descargas]",
    ),
    (
        "Refuse a download that would leave less room on the disk, such as 10GiB",
        "Rechaza una descarga que dejaría menos espacio libre en el disco, como 10GiB",
    ),
    (
        "Other limits at some hours of each day, in local time, such as '08:00-18:00 upload=1MB download=none'; repeat for more. The first that holds decides",
        "Otros límites a ciertas horas de cada día, en hora local, como '08:00-18:00 upload=1MB download=none'; se puede repetir. El primero que vale decide",
    ),
    (
        "Let the running servers and peers of this user read their settings again",
        "Hace que los servidores y peers en ejecución de este usuario lean la configuración de nuevo",
    ),
    ("the process of this number alone", "solo el proceso de este número"),
    ("the same without an answer", "lo mismo sin respuesta"),
    (
        "A line for each changed setting says whether it holds from now on or needs a restart. No transfer ends. With a broken file the earlier settings stay, and the exit code is 2. The log file is opened again. A process with a terminal as stdin ends at SIGHUP, and takes no part.",
        "Una línea por ajuste cambiado dice si ya vale o si exige un reinicio. Ninguna transferencia termina. Con un archivo no válido queda la configuración anterior, y el código de salida es 2. El archivo de registro se reabre. Un proceso con un terminal como stdin termina con SIGHUP, y no participa.",
    ),
    (
        "The numbers of the processes [default: all of this user]",
        "Los números de los procesos [por defecto: todos los de este usuario]",
    ),
    (
        "Append the log and the notes to this file instead of stderr, with time stamps. SIGHUP and `cardume reload` open the file again",
        "Añade el registro y las notas a este archivo en vez de stderr, con la hora. SIGHUP y `cardume reload` reabren el archivo",
    ),
    (
        "The form of the log: lines with time, level and module, or a JSON object per line",
        "La forma del registro: líneas con hora, nivel y módulo, o un objeto JSON por línea",
    ),
    (
        "Print all names in the line about the files of a peer [default: the first hundred, and how many more there are]",
        "Imprime todos los nombres en la línea sobre los archivos de un peer [por defecto: los cien primeros, y cuántos más son]",
    ),
    (
        "The least level of the logged lines [default: RUST_LOG, else warn]",
        "El nivel mínimo de las líneas del registro [por defecto: RUST_LOG, si no warn]",
    ),
    (
        "Run this program after each complete download, without a shell: the facts are JSON on stdin and the variables CARDUME_HOOK_*",
        "Ejecuta este programa tras cada descarga completa, sin shell: los datos van en JSON por stdin y en las variables CARDUME_HOOK_*",
    ),
    (
        "Run this program after each upload, when the connection ends",
        "Ejecuta este programa tras cada envío, cuando termina la conexión",
    ),
    ("Kill such a program after so many seconds", "Mata un programa así tras tantos segundos"),
    (
        "The settings file; `none` reads no file [default: ~/.config/cardume/cardume.toml, else /etc/cardume/cardume.toml]",
        "El archivo de configuración; `none` no lee ninguno [por defecto: ~/.config/cardume/cardume.toml, si no /etc/cardume/cardume.toml]",
    ),
    (
        "Check or print the settings of the file, the environment and the command line",
        "Comprueba o muestra la configuración del archivo, del entorno y de la línea de órdenes",
    ),
    (
        "the settings of server and peer, with their places",
        "la configuración de server y peer, con sus orígenes",
    ),
    (
        "Each flag of each command is a key in the section of the command, and a variable:",
        "Cada opción de cada orden es una clave en la sección de la orden, y una variable:",
    ),
    ("as --listen, or CARDUME_LISTEN", "como --listen, o CARDUME_LISTEN"),
    ("for all commands with this flag", "para todas las órdenes con esta opción"),
    (
        "A flag beats a variable, a variable the file, and the file the default. Exit code 2 for an unknown key or a wrong value, with the line.",
        "Una opción vale más que una variable, la variable más que el archivo, y el archivo más que el valor por defecto. Código de salida 2 para una clave desconocida o un valor erróneo, con la línea.",
    ),
    (
        "Check the file alone, and print nothing but errors and its name",
        "Solo comprueba el archivo, y muestra únicamente errores y su nombre",
    ),
    (
        "Print the settings as a settings file, as by default",
        "Muestra la configuración como un archivo de configuración, como por defecto",
    ),
    (
        "The commands whose settings to print [default: server and peer]",
        "Las órdenes cuya configuración se muestra [por defecto: server y peer]",
    ),
    (
        "Make a secret URL by which curl or a player fetches one file from your running peer",
        "Crea una URL secreta con la que curl o un reproductor descarga un archivo de su peer en marcha",
    ),
    ("List the live links of your running peer", "Lista los enlaces vigentes de su peer en marcha"),
    ("End a link, and the downloads by it", "Termina un enlace, y las descargas hechas con él"),
    (
        "The running peer [default: found at the index server, by your key]",
        "El peer en marcha [por defecto: el que conoce el índice, por su clave]",
    ),
    (
        "The file, by the name under which you share it, or b3:ROOT",
        "El archivo, por el nombre con que lo comparte, o b3:ROOT",
    ),
    (
        "The time until the link expires: 90s, 15m, 24h or 30d",
        "El tiempo hasta que el enlace caduque: 90s, 15m, 24h o 30d",
    ),
    (
        "The host of the URL, or host and port, where the index server sees another address; a host name needs --host-name at the peer",
        "La máquina de la URL, o máquina y puerto, si el índice ve otra dirección; un nombre necesita --host-name en el peer",
    ),
    (
        "The number of the link, as `cardume links` shows it",
        "El número del enlace, como lo muestra `cardume links`",
    ),
    (
        "The URL alone is on stdout, and a curl command that checks the key of the peer on stderr. All links end with the peer. A link needs no consent of --accept.",
        "La salida estándar tiene solo la URL; stderr tiene una orden curl que comprueba la clave del peer. Todos los enlaces terminan con el peer. Un enlace no necesita el consentimiento de --accept.",
    ),
    ("number, time left, fetches, file", "número, tiempo restante, descargas, archivo"),
    (
        "Share giant files peer to peer: a small index lists the providers, and peers send the bytes",
        "Un Napster para archivos gigantes: un índice pequeño sabe quién tiene qué, y los peers lo entregan",
    ),
    (
        "Run the index server: the index lists the providers of each file, and stores no content",
        "Ejecuta el índice: sabe quién tiene cada archivo, y no guarda ningún byte de ellos",
    ),
    ("Share a folder, search and download", "Comparte una carpeta, busca y descarga archivos"),
    ("Find the providers of a file", "Dice quién tiene un archivo"),
    (
        "Download a file; repeat the command to resume",
        "Descarga un archivo; ejecútelo de nuevo para continuar",
    ),
    (
        "Play a video or audio file during the download; the finished file is kept",
        "Reproduce un vídeo o audio mientras llega; el archivo queda guardado",
    ),
    ("List the connected peers", "Lista los peers presentes"),
    ("List the shared files of a peer", "Lista lo que comparte un peer"),
    (
        "Register a user name; only the key created at the first use can use the name",
        "Registra un nombre de usuario; solo la clave creada en el primer uso puede usarlo",
    ),
    (
        "Release a user name, and delete all publications under the name",
        "Devuelve un nombre de usuario, con todo lo publicado bajo él",
    ),
    (
        "Publish a file under a user name; the publication stays while the user is offline",
        "Publica un archivo en nombre de un usuario: vale también en su ausencia",
    ),
    (
        "Close all connections of a member, user or address; it may come back",
        "Cierra todas las conexiones de un miembro, usuario o dirección, que puede volver",
    ),
    (
        "Ban a member, a key, an address or a range, and close its connections",
        "Veta a un miembro, una clave, una dirección o un rango, y cierra sus conexiones",
    ),
    ("Lift a ban", "Retira un veto"),
    ("List the bans", "Lista los vetos"),
    (
        "Show or set the limits of a running server",
        "Muestra o cambia los límites de un servidor en marcha",
    ),
    ("any user, as an administrator", "cualquier usuario, como administrador"),
    ("as an administrator", "como administrador"),
    ("that connection alone", "solo esa conexión"),
    (
        "Exit code 3 if there is no such connection. Downloads from other peers continue: they need no server.",
        "Código de salida 3 si no hay tal conexión. Las descargas de otros peers continúan: no necesitan al servidor.",
    ),
    (
        "A banned address is cut off before its first byte, on every port of the server. A banned member reads the reason and the time left, and the other peers stop serving it within a second. The time counts while the server runs.",
        "Una dirección vetada se corta antes del primer byte, en todos los puertos del servidor. Un miembro vetado lee el motivo y el tiempo que falta, y los demás peers dejan de servirle en un segundo. El tiempo cuenta mientras el servidor está en marcha.",
    ),
    (
        "subject, name, time left, since, by, reason",
        "objeto, nombre, tiempo que falta, desde cuándo, por quién, motivo",
    ),
    ("limit, value, default, range, unit", "límite, valor, valor por omisión, rango, unidad"),
    ("resets the limit", "vuelve al valor por omisión"),
    (
        "A new limit holds at once, and after a restart. What is in use already stays.",
        "Un límite nuevo vale de inmediato, y tras un reinicio. Lo que ya está en uso se queda.",
    ),
    (
        "The member or user, the key, or the address of the client",
        "El miembro o usuario, la clave, o la dirección del cliente",
    ),
    (
        "The member or user, the key, the address, or the range of addresses",
        "El miembro o usuario, la clave, la dirección, o el rango de direcciones",
    ),
    (
        "The time until the ban ends: 90s, 15m, 24h or 30d [default: no end]",
        "El tiempo hasta el fin del veto: 90s, 15m, 24h o 30d [por omisión: sin fin]",
    ),
    (
        "The reason, on a single line; the banned client reads it",
        "El motivo, en una sola línea; el cliente vetado lo lee",
    ),
    ("Ban your own key or address, or loopback", "Veta su propia clave o dirección, o el loopback"),
    (
        "The name, the key, the address or the range, as `cardume bans` shows it",
        "El nombre, la clave, la dirección o el rango, como lo muestra `cardume bans`",
    ),
    (
        "The limits to set; `default` resets one",
        "Los límites que cambiar; `default` vuelve al valor por omisión",
    ),
    (
        "Act as an administrator of the server, for any user",
        "Actúa como administrador del servidor, por cualquier usuario",
    ),
    ("Delete a publication", "Retira lo que se publicó"),
    (
        "Report matching files as providers come and go, until Ctrl-C",
        "Muestra lo que llega y lo que se va, hasta Ctrl-C",
    ),
    (
        "Open a server to the browser on this machine, as the member that you are: search, play and download at a secret address",
        "Abre un servidor al navegador de esta máquina, como el miembro que usted es: busque, reproduzca y descargue en una dirección secreta",
    ),
    (
        "The port of the page on 127.0.0.1 [default: a free port]",
        "El puerto de la página en 127.0.0.1 [por defecto: un puerto libre]",
    ),
    ("prints a URL for the browser", "muestra una URL para el navegador"),
    (
        "Anyone with the URL acts as you while the command runs, so the URL is a secret; the next run has another one. The browser stays on this machine: everything beyond is encrypted, and the keys of the server and of the peers are checked.",
        "Quien tiene la URL actúa como usted mientras corre el comando, por eso la URL es secreta; la próxima ejecución tendrá otra. El navegador se queda en esta máquina: todo lo demás va cifrado, y se comprueban las claves del servidor y de los peers.",
    ),
    (
        "Show the metrics of an index server or a peer",
        "Muestra en cifras cómo está un servidor de índice o un peer",
    ),
    ("List the connected users", "Lista los usuarios presentes"),
    ("List the publications of a user", "Lista lo que ha publicado un usuario"),
    (
        "Print the BLAKE3 roots of files, as b3sum does",
        "Muestra las raíces BLAKE3 de archivos, como b3sum",
    ),
    (
        "Check files against the index, as b3sum --check does against a list",
        "Comprueba archivos con el índice, como b3sum --check con una lista",
    ),
    (
        "Print the operations of the users of an index, a line each, as reported by a server with --rpc-log",
        "Muestra lo que hacen los usuarios de un índice, una línea por operación, como informa un servidor con --rpc-log",
    ),
    (
        "Measure a server, or a Redis, under the load of many peers: response rates and latencies",
        "Pone carga en un servidor o en un Redis: muchos peers en un proceso, tasas y tiempos de respuesta",
    ),
    ("Print the completions of a shell", "Muestra el script de autocompletado de un shell"),
    ("Print a man page", "Muestra una página de manual"),
    (
        "Export the server's accounts to a folder of CSV files; the server may be running",
        "Escribe las cuentas del servidor en una carpeta, como archivos CSV; puede estar en ejecución",
    ),
    (
        "Import accounts from such a folder into the server's; the server must be stopped",
        "Añade a las cuentas del servidor las de una de esas carpetas; no puede estar en ejecución",
    ),
    (
        "Language of help, prompts and errors; fixed lines of the specification stay Portuguese [default: from LC_ALL, LC_MESSAGES or LANG, else pt]",
        "Idioma de la ayuda, las preguntas y los errores; las líneas fijas de la especificación quedan en portugués [por defecto: el de LC_ALL, LC_MESSAGES o LANG, si no pt]",
    ),
    ("Print a JSON object per line", "Muestra un objeto JSON por línea"),
    (
        "The file with the secret key, created at the first use [default: cardume/key below the user's state folder]",
        "El archivo de la clave secreta, creado cuando haga falta por primera vez [por defecto: cardume/key en la carpeta de estado del usuario]",
    ),
    ("The user name", "Qué nombre"),
    ("The name of the file", "El nombre del archivo"),
    ("The description, on a single line", "La descripción, en una línea"),
    (
        "Publish under this user name; a new name is registered first",
        "En nombre de qué usuario; se registra si hace falta",
    ),
    ("The user that published the file", "El usuario que publicó el archivo"),
    ("The user that published the files", "De qué usuario"),
    ("The shell", "Qué shell"),
    (
        "The command; without a command, the page of the program",
        "De qué orden; sin ella, del programa",
    ),
    (
        "A file with an invite: the first start joins its server, and later starts ignore the invite",
        "Un archivo con una invitación: la primera vez entra en su servidor, y las siguientes la ignoran",
    ),
    (
        "Listen for other peers on this address; port 0 selects a free port [default: 0.0.0.0:4000, or a free port if that one is busy]",
        "Dónde atender a los demás; el puerto 0 elige uno libre [por omisión: 0.0.0.0:4000, o un puerto libre si ese está ocupado]",
    ),
    (
        "The folder to share; downloads go there as well",
        "La carpeta que se comparte, que también recibe las descargas",
    ),
    (
        "A list of further files to share, a `name path` per line, with any path. A line [GROUP] is for the lines below, as --for-group. Without --folder, nothing else is shared, and downloads go to the current folder",
        "Un archivo con más elementos que compartir, un `nombre ruta` por línea, de cualquier lugar; una línea [GRUPO] vale para las líneas de abajo, como --for-group; sin --folder, no se comparte nada más y las descargas van a la carpeta actual",
    ),
    (
        "Show the shared files only to these groups of members, such as turma-a,turma-b; repeat for more. `all` is every member, as by default; `public` also shows the files to clients of legacy protocols",
        "Muestra los archivos compartidos solo a estos grupos de miembros, como turma-a,turma-b; repita para más. `all` son todos los miembros, como es lo normal; `public` muestra los archivos también a clientes de protocolos antiguos",
    ),
    (
        "The commands and responses of the console: napster, rede, music, or uc3m with an edition, by default fixed. A music console plays each requested file, and opens a UDP port of music-udp. In a uc3m console, CONNECT names the user, opens the port and shares the folder (by default the current folder). The console also opens a port of the edition, on the IP of --listen or 127.0.0.1, so that clients of UC3M find the user",
        "De qué sistema son las órdenes y las respuestas de la consola: napster, rede, music, o uc3m en una de sus ediciones, de las que fixed es la de por defecto. Una consola music reproduce cada archivo pedido, y abre un puerto UDP de music-udp. En una consola uc3m, CONNECT dice quién es usted, abre el puerto y comparte la carpeta (la actual, si no se da ninguna). La consola abre también un puerto de la edición, en la IP de --listen o en 127.0.0.1, para que los clientes de UC3M encuentren al usuario",
    ),
    (
        "Share subfolders as well, under names such as Sub/aula1.mp4",
        "Comparte también las subcarpetas, con nombres como Sub/aula1.mp4",
    ),
    (
        "Do not share files that match this pattern, as in .gitignore: '*.iso', '/drafts' or 'tmp/'; repeat for more. The patterns follow the lines of the file .cardumeignore at the top of the folder. The last match decides ('!' shares the file)",
        "No comparte lo que se llama así: un patrón como en un .gitignore, por ejemplo '*.iso', '/drafts' o 'tmp/'; repita para dar más. Van después de los del archivo .cardumeignore en lo alto de la carpeta, y decide el último que coincide ('!' lo comparte pese a todo)",
    ),
    (
        "The user of this peer; a new name is registered first",
        "El usuario dueño de este peer; el nombre se registra si hace falta",
    ),
    ("Whether other peers may download", "Si los demás pueden descargar"),
    ("Allow every download", "Todos pueden"),
    (
        "Prompt for consent, once per requester and file",
        "Se le pregunta, una vez por cada peer y archivo",
    ),
    ("Refuse every download", "Nadie puede"),
    (
        "The address at which other peers reach this peer, if different from the address seen by the server",
        "La dirección en que los demás hallan este peer, si no es la que ve el servidor",
    ),
    (
        "Bytes sent per second, over all uploads",
        "Bytes por segundo que salen, en la suma de todas las subidas",
    ),
    (
        "Bytes received per second, over all downloads",
        "Bytes por segundo que entran, en la suma de todas las descargas",
    ),
    (
        "Parallel uploads; further requesters wait in a queue, and receive their position",
        "Subidas a la vez; las demás esperan, y saben su puesto en la cola",
    ),
    (
        "Bytes that one requester may ask of this peer in a day, such as 50GiB",
        "Bytes que cada uno puede pedir a este peer en un día, como 50GiB",
    ),
    (
        "Which hosts may read the metrics, by `cardume status` and at /metrics",
        "Quién puede ver las cifras del proceso, por `cardume status` y en /metrics",
    ),
    ("Programs on this machine", "Programas de esta máquina"),
    ("Programs on any machine", "Todos"),
    (
        "A host name to accept in HTTP requests, such as the name of a proxy; repeat for more. Addresses, localhost and the names of this machine are always accepted. All other names are refused",
        "Un nombre con el que navegadores y otros programas pueden acceder por HTTP, como el de un proxy; repita para dar más. Direcciones, localhost y los nombres de esta máquina valen siempre, y todos los demás se rechazan",
    ),
    (
        "Whether to allocate the disk space of a download",
        "Reserva espacio en el disco para una descarga, o no",
    ),
    (
        "Allocate all space, in steps: a full disk fails the download at the start",
        "Todo el espacio, en pasos: un disco lleno se ve ya al principio",
    ),
    ("A sparse file", "Un archivo disperso"),
    (
        "The folder of the hash cache, so that a restart hashes no file again [default: cardume below the user's cache folder]",
        "Dónde se guardan los hashes de los archivos, para no calcular nada de nuevo al reiniciar [por defecto: cardume en la carpeta de caché del usuario]",
    ),
    (
        "Keep hashes in memory only, even with --cache",
        "Mantiene los hashes solo en memoria, aunque se indique una caché",
    ),
    (
        "Listen for QUIC over UDP as well, on this port; without an IP, on the IP of --listen",
        "Atiende también por QUIC sobre UDP, en este puerto; sin dirección, vale la de --listen",
    ),
    (
        "Serve UC3M's GET_FILE on this port, in this edition: 2020, 2020-int, 2024, 2024-plain, 2025 or fixed (the default); repeat for more",
        "Atiende el GET_FILE de UC3M en este puerto, en esta edición: 2020, 2020-int, 2024, 2024-plain, 2025 o fixed, que es la de por defecto; repita para dar más",
    ),
    (
        "Serve files to rede-p2p clients on this port",
        "Atiende el protocolo de rede-p2p en este puerto",
    ),
    (
        "Serve files to ufabc-json clients on the usual port",
        "Atiende el JSON de ufabc-json en el puerto normal",
    ),
    (
        "Exit with code 5 if the server is unreachable, instead of retrying",
        "Termina con el código 5 cuando no hay servidor, en lugar de reintentar",
    ),
    ("The files; `-` is stdin", "Qué archivos; `-` es la entrada estándar"),
    ("The files, or folders with files", "Qué archivos, o carpetas de ellos"),
    (
        "The expected root of a single file, checked instead of the index: 64 hex digits, as printed by `cardume hash` and `b3sum`",
        "La raíz que debe tener el único archivo, diga lo que diga el índice: 64 dígitos hexadecimales, como los de `cardume hash` y `b3sum`",
    ),
    (
        "Check the files of subfolders as well, under names such as Sub/aula1.mp4",
        "Comprueba también los archivos de las subcarpetas, con nombres como Sub/aula1.mp4",
    ),
    (
        "Exact names with the extension; NAME/ for a folder; or b3:ROOT for this content under any name",
        "Los nombres exactos, con la extensión; NAME/ para una carpeta; o b3:ROOT, sea cual sea el nombre",
    ),
    (
        "A file with one name a line, downloaded after the names given here; `-` is stdin",
        "Un archivo con un nombre por línea, que se descargan después de los nombres dados aquí; `-` es la entrada estándar",
    ),
    ("Files downloaded at the same time", "Cuántos archivos descargar a la vez"),
    (
        "The exact name with the extension; or b3:ROOT for this content under any name",
        "El nombre exacto, con la extensión; o b3:ROOT, sea cual sea el nombre",
    ),
    (
        "The expected root of the content: 64 hex digits, as printed by `cardume hash` and `b3sum`",
        "La raíz que debe tener el contenido: 64 dígitos hexadecimales, como los de `cardume hash` y `b3sum`",
    ),
    (
        "Download from this peer, without the index server. For a legacy protocol use rede@IP:PORT, ufabc-json@… or uc3m-2024@…",
        "De este peer, sin consultar el servidor; uno que habla un protocolo antiguo es como rede@IP:PORT, ufabc-json@… o uc3m-2024@…",
    ),
    ("The destination folder", "A esta carpeta"),
    ("The destination file; `-` is stdout", "A este archivo; `-` es la salida estándar"),
    (
        "Download the head and the tail first, then the rest in order",
        "Trae primero el principio y el final, después todo en orden",
    ),
    (
        "Accept the bytes of a single source without verification",
        "Acepta los bytes de un origen como llegan, sin comprobarlos",
    ),
    (
        "Wait for a file without a provider, and for an unreachable source",
        "Espera un archivo que nadie tiene todavía, y un origen ausente",
    ),
    ("Bytes received per second", "Bytes por segundo que entran"),
    (
        "The transport of the download: TCP, or QUIC over UDP from peers with --udp, with TCP as the fallback",
        "El transporte de los bytes: TCP, o QUIC sobre UDP con peers que lo atienden (--udp), y TCP donde QUIC no pasa",
    ),
    ("TCP", "TCP"),
    ("QUIC over UDP", "QUIC sobre UDP"),
    (
        "The local UDP port of QUIC [default: a free port]",
        "El puerto UDP desde el que pide QUIC [por defecto: uno libre]",
    ),
    ("The peer", "Qué peer"),
    (
        "List the files of a folder that a peer would not share, and why; no peer is contacted",
        "Dice lo que un peer no compartiría de una carpeta, y por qué; no se consulta a nadie",
    ),
    ("The folder for --skipped", "De esta carpeta, con --skipped"),
    ("Include subfolders", "Y de sus subcarpetas"),
    ("Exclude files, as in cardume peer", "Como en la orden peer"),
    (
        "The media player [default: the first installed of these, else none]",
        "El programa que reproduce [por defecto: el primero de estos que está instalado, si no none]",
    ),
    ("mpv", "mpv"),
    ("VLC", "VLC"),
    (
        "No player: print the URL, and serve the file until interrupted",
        "Ninguno: muestra la URL y la atiende hasta que se interrumpe",
    ),
    ("The folder of the finished file", "Adónde va el archivo terminado"),
    (
        "Words of the name or the description, in any order; \"a phrase\" in quotes; `-word` excludes a word",
        "Palabras que el nombre o la descripción contiene, en cualquier orden; \"una frase\" entre comillas; `-palabra`: sin esta",
    ),
    (
        "Words of the name or the description, with typing errors; the best matches come first",
        "Palabras que el nombre o la descripción casi contiene, con errores de escritura; los mejores van primero",
    ),
    (
        "Only names with these extensions, without the dot",
        "Solo nombres con estas extensiones, sin el punto",
    ),
    (
        "Only files of this size in bytes: 700M..4G, 700M.., ..4G",
        "Solo archivos de este tamaño en bytes: 700M..4G, 700M.., ..4G",
    ),
    (
        "Only files with these words in the description, in any order",
        "Solo archivos con estas palabras en la descripción, en cualquier orden",
    ),
    ("Only files of this user", "Solo archivos de este usuario"),
    ("Only files with a known content hash", "Solo archivos de contenido conocido"),
    ("Only complete files", "Solo archivos completos"),
    (
        "The order: name, -name, size or -size (the largest first)",
        "En este orden: name, -name, size o -size, que es el mayor primero",
    ),
    (
        "The most results [default: 1000; an exact name alone: 4096]",
        "Como máximo tantos [por defecto: 1000; solo con un nombre exacto: 4096]",
    ),
    (
        "Listen on this address; repeat for more [default: 127.0.0.1:1099; on a terminal, a prompt]",
        "Dónde escuchar; repita para dar más [por defecto: 127.0.0.1:1099; en un terminal, el programa pregunta]",
    ),
    (
        "The folder of accounts and publications, for all addresses; `none`: in memory only [default: cardume/server below the user's state folder; for port 0, none]",
        "Dónde se guardan las cuentas y las publicaciones, sean cuales sean las direcciones; `none`: solo en memoria [por defecto: cardume/server en la carpeta de estado del usuario; para el puerto 0, none]",
    ),
    ("Whether peers may join without an account", "Si los peers pueden entrar sin una cuenta"),
    ("Peers may join without an account", "Pueden"),
    ("Every peer needs an account", "No pueden"),
    (
        "Serve the UC3M protocol on this port, in this edition: 2020, 2020-int, 2024, 2024-plain, 2025 or fixed (the default); repeat for more",
        "Habla UC3M en este puerto, en esta edición: 2020, 2020-int, 2024, 2024-plain, 2025 o fixed, que es la de por defecto; repita para dar más",
    ),
    ("Serve the rede-p2p protocol on this port", "Habla el protocolo de rede-p2p en este puerto"),
    ("Serve the index of music-udp on this port", "Sirve el índice de music-udp en este puerto"),
    (
        "Serve programs of napster-ufabc on the usual ports",
        "Atiende a programas de napster-ufabc en los puertos normales",
    ),
    (
        "Serve files to programs of music-udp on this UDP port; the index lists the port a thousand below. Other machines are answered only where the server lists a peer at their address",
        "Envía archivos a programas de music-udp en este puerto UDP; el índice muestra el puerto mil por debajo. Otras máquinas reciben respuesta solo si el servidor muestra un peer en su dirección",
    ),
    (
        "Serve files to programs of napster-ufabc on the usual port",
        "Envía archivos a programas de napster-ufabc en el puerto normal",
    ),
    (
        "Serve the ufabc-json protocol on the usual ports",
        "Acepta el JSON de ufabc-json en los puertos normales",
    ),
    (
        "Serve the ufabc-json protocol, and list the folders that peers name, below this folder",
        "Acepta el JSON de ufabc-json, y lista las carpetas que indican sus peers, por debajo de esta",
    ),
    (
        "Serve UC3M's date service on this port, besides the usual ports; repeat for more",
        "Atiende el servicio de fecha de UC3M también en este puerto; los puertos normales ya lo hacen; repita para dar más",
    ),
    (
        "The heartbeat interval in seconds; a peer that is silent for 2.5 intervals is removed",
        "Cada cuántos segundos debe dar señal cada peer; uno que calla 2,5 veces ese tiempo queda fuera",
    ),
    (
        "The memory limit of the index: 512MiB, 2GiB; further files are refused [default: half the memory of this machine or container]",
        "Cuánta memoria puede usar el índice: 512MiB, 2GiB; los archivos de más se rechazan [por defecto: la mitad de la que tiene esta máquina o su contenedor]",
    ),
    (
        "Addresses that peers may advertise besides their own; repeat for more",
        "Direcciones que los peers pueden anunciar además de la propia; repita para dar más",
    ),
    (
        "Share one index with other servers, in this Redis or Valkey cluster; needs --open",
        "Comparte un índice con otros servidores, en este clúster Redis o Valkey; requiere --open",
    ),
    (
        "A file with the URL of --index, so that a password is not on a command line",
        "Un archivo con la URL de --index, para que la contraseña no quede en la línea de comandos",
    ),
    (
        "The certificates of the authorities that sign the nodes' certificates, in PEM, for rediss://HOST:PORT [default: those of the system]",
        "Los certificados de las autoridades que firman los de los nodos, en PEM, para rediss://HOST:PUERTO [por defecto: los del sistema]",
    ),
    (
        "Keep the accounts of --index on another engine",
        "Guarda las cuentas de --index en otro motor",
    ),
    ("A file with the URL of --accounts-engine", "Un archivo con la URL de --accounts-engine"),
    (
        "The start of all keys in the engine; servers of one index have the same",
        "El comienzo de todas las claves en el motor; los servidores de un índice tienen el mismo",
    ),
    (
        "Report every user operation to this log server; without a port, rpcbind there gives the port",
        "Informa a este servidor de registro de cada operación de un usuario; sin puerto, se pregunta al rpcbind de allí",
    ),
    (
        "Listen on this address; port 0 selects a free port",
        "Dónde escuchar; el puerto 0 elige uno libre",
    ),
    (
        "Print the URL of the server with its public key, for --server; connections by this URL are encrypted",
        "Muestra la URL del servidor con la clave pública, para --server; las conexiones por esa URL van cifradas",
    ),
    ("The URL is no secret.", "La URL no es secreta."),
    (
        "The addresses of the server, as clients reach it",
        "Las direcciones del servidor, como los clientes lo alcanzan",
    ),
    ("The folder of CSV files", "La carpeta de los archivos CSV"),
    (
        "The server's account folder [default: cardume/server below the user's state folder]",
        "Dónde guarda el servidor las cuentas [por defecto: cardume/server en la carpeta de estado del usuario]",
    ),
    (
        "The listen address of an earlier server version, which named the data folder after this address",
        "Dónde escuchaba un servidor de una versión anterior, lo que daba nombre a su carpeta",
    ),
    (
        "Query this peer instead of the index server",
        "Consulta este peer en lugar del servidor de índice",
    ),
    ("Show the memory of the index, by part", "Lo que usa el índice, por partes"),
    (
        "Words of the file name, in any case and with or without accents; -word excludes a word; or b3:ROOT",
        "Palabras que los nombres contienen, sin distinguir mayúsculas ni acentos, y -palabras que no contienen; o b3:ROOT",
    ),
    (
        "Match this exact name instead of words",
        "El archivo con exactamente este nombre, en vez de palabras",
    ),
    (
        "The index server under load; a URL with its key, as `cardume server url` prints: by TLS",
        "El servidor de índice que recibe la carga; con la URL de `cardume server url`, que tiene la clave: por TLS",
    ),
    (
        "Connect lost peers again, all at once, and print a line when all have joined",
        "Conecta de nuevo los peers perdidos, todos a la vez, y escribe una línea cuando todos han entrado",
    ),
    (
        "Load a Redis instead of the server, with SMEMBERS requests",
        "Un Redis recibe la carga en su lugar, consultado con SMEMBERS",
    ),
    ("The number of peers, each with a connection", "Cuántos peers, cada uno con su conexión"),
    ("Parallel requests per peer", "Cuántas peticiones de cada peer están en curso a la vez"),
    (
        "Seconds of measurement [default: 10; with --idle, until Ctrl-C]",
        "Durante cuántos segundos se mide [por defecto: 10; con --idle, hasta Ctrl-C]",
    ),
    (
        "The relative frequencies of search, join, update and leave",
        "Con qué frecuencia se pide cada operación: search, join, update y leave",
    ),
    (
        "The number of names [default: enough for 5 providers each]",
        "Cuántos nombres hay [por defecto: lo que da 5 dueños a cada uno]",
    ),
    (
        "The exponent of Zipf's law for the popularity of names; 0: all names alike",
        "El exponente de la ley de Zipf, por la que pocos nombres se piden mucho; 0: todos iguales",
    ),
    (
        "Files per peer; with 0, no peer joins [default: 100; with --fill, as many as needed]",
        "Archivos de cada peer; con 0, nadie entra [por defecto: 100; con --fill, los necesarios]",
    ),
    (
        "Providers per name; every response is checked for this number [default with --fill: 5]",
        "Cuántos dueños tiene cada nombre, lo que se comprueba en cada respuesta [por defecto con --fill: 5]",
    ),
    (
        "Announce the providers of every name before the measurement",
        "Da a cada nombre sus dueños antes de medir",
    ),
    ("Join, print a line, and stay idle", "Entra, avisa, y queda en silencio"),
    (
        "Additional peers per second that join and leave a second later",
        "Visitantes de más, que llegan cada segundo y se van un segundo después",
    ),
    ("Announce a root for each file as well", "Informa también de una raíz para cada archivo"),
    ("The seed of the random numbers", "La semilla de los números aleatorios"),
    (
        "Report the CPU use of the server, from this process on this machine",
        "Muestra cuánto procesador ha usado el servidor: su proceso en esta máquina",
    ),
    ("Example:", "Ejemplo:"),
    ("Examples:", "Ejemplos:"),
    ("Exit codes:", "Códigos de salida:"),
    (
        "done (also: the same file is already there)",
        "hecho (también: el mismo archivo ya está allí)",
    ),
    ("internal error", "fallo del propio programa"),
    ("wrong usage", "uso incorrecto"),
    ("not found", "no encontrado"),
    ("refused", "rechazado"),
    ("server or source unreachable", "servidor u origen sin respuesta"),
    ("verification failed", "la verificación ha fallado"),
    (
        "local disk or address: missing folder, full disk, busy port,",
        "disco o dirección local: carpeta que falta, disco lleno, puerto en uso,",
    ),
    (
        "destination holds another file, output that cannot be written",
        "otro archivo en el destino, salida que no se puede escribir",
    ),
    ("the other side does not speak the protocol", "el otro lado no habla el protocolo"),
    (
        "interrupted; repeat the command to resume",
        "interrumpido; ejecútelo de nuevo para continuar",
    ),
    (
        "the reader of the output has gone (as in `cardume watch aula | head -1`)",
        "nadie lee ya la salida (como en `cardume watch aula | head -1`)",
    ),
    ("listens on 127.0.0.1:1099", "escucha en 127.0.0.1:1099"),
    ("for the whole network", "para toda la red"),
    ("IPv6 and IPv4", "IPv6 e IPv4"),
    (
        "legacy clients as well, from this machine only",
        "acepta también programas antiguos, solo de esta máquina",
    ),
    ("logs joins and departures on stderr", "dice quién llega y quién se va, en stderr"),
    (
        "Legacy protocols have no passwords: any client can act for any of their users. So legacy ports are off by default, and bind to loopback unless an address is given.",
        "Los protocolos antiguos no tienen contraseñas: quien los alcanza puede actuar en nombre de cualquiera de sus usuarios. Por eso solo se activan si se piden, y solo en el loopback, si no se da una dirección.",
    ),
    ("a menu: JOIN, SEARCH, DOWNLOAD", "un menú: JOIN, SEARCH, DOWNLOAD"),
    ("over UDP (QUIC) as well", "también por UDP (QUIC)"),
    ("UC3M's commands, in a folder to share", "órdenes de UC3M, en la carpeta que se comparte"),
    ("peers, ls, get", "peers, ls, get"),
    ("REGISTRAR, CONSULTAR, REQUISITAR, ENCERRAR", "REGISTRAR, CONSULTAR, REQUISITAR, ENCERRAR"),
    (
        "A shared file is also at http://IP:PORT/files/NAME for curl, browsers and players.",
        "Un archivo compartido también está en http://IP:PORT/files/NAME, para curl, navegadores y reproductores.",
    ),
    (
        "Never shared, under any name: secret keys (of cardume, PEM, OpenSSH, PGP, PuTTY, age), accounts and hashes of cardume, unfinished downloads, hidden files, links. Excluded unless .cardumeignore or --exclude has '!NAME': lost+found/ $RECYCLE.BIN/ 'System Volume Information/' Thumbs.db desktop.ini *.crdownload *.sqlite-shm `cardume ls --skipped --folder DIR` lists the files that are not shared, and why.",
        "Nunca se comparte, se llame como se llame: claves secretas (de cardume, PEM, OpenSSH, PGP, PuTTY, age), cuentas y hashes de cardume, descargas en curso, archivos ocultos, enlaces. Queda fuera, si .cardumeignore o --exclude no dice '!NAME':\nlost+found/ $RECYCLE.BIN/ 'System Volume Information/' Thumbs.db desktop.ini *.crdownload *.sqlite-shm\n`cardume ls --skipped --folder DIR` lista lo que no se comparte, y por qué.",
    ),
    (
        "in names and descriptions; case and accents do not matter",
        "en nombres y descripciones, con o sin mayúsculas y acentos",
    ),
    (
        "with typing errors; the best matches come first",
        "con errores de escritura; los mejores primero",
    ),
    ("without a server", "no consulta ningún servidor"),
    ("a legacy peer, without verification", "un programa antiguo, cuyos bytes nada comprueba"),
    ("only with this content", "solo si este es el contenido"),
    (
        "a folder with its subfolders; only missing files",
        "una carpeta con sus subcarpetas; solo los archivos que faltan",
    ),
    (
        "Compare a single folder with the list of this folder at its peers: NAME/",
        "Compara una sola carpeta con la lista de esta carpeta en sus peers: NAME/",
    ),
    (
        "With --as, take the list from this peer, without the index server",
        "Con --as, pide la lista a este peer, sin el servidor de índice",
    ),
    (
        "With --as, the files are compared with the list of the folder. missing: the list has a file that is not here, which counts as failed. unknown: a file here that the list lacks.",
        "Con --as, los archivos se comparan con la lista de la carpeta. missing: la lista tiene un archivo que no está aquí, y cuenta como fallo. unknown: un archivo de aquí que falta en la lista.",
    ),
    ("the folder as its peers share it", "la carpeta como la comparten sus peers"),
    (
        "Download each file with these words in the name or the description, after a preview",
        "Descarga cada archivo con estas palabras en el nombre o en la descripción, tras mostrar la lista",
    ),
    (
        "Download each file with one of these extensions, without the dot, after a preview",
        "Descarga cada archivo con una de estas extensiones, sin el punto, tras mostrar la lista",
    ),
    (
        "With --contains or --ext, download without a question",
        "Con --contains o --ext, descarga sin preguntar",
    ),
    ("shows what it finds, and asks", "muestra lo que encuentra y pregunta"),
    ("this content, under any name", "este contenido, sea cual sea el nombre"),
    ("saved as ~/Videos/Cursos/aula1.mp4", "queda en ~/Videos/Cursos/aula1.mp4"),
    ("over UDP, from peers with --udp", "por UDP, de peers con --udp"),
    ("until a provider appears", "hasta que alguien lo tenga"),
    ("in mpv or VLC", "en mpv o en VLC"),
    ("prints a URL for any player", "muestra una URL para cualquier reproductor"),
    (
        "The order of the download follows the player: both ends of the file, the current position, the data ahead, and then the rest. No byte is played before its piece is verified. After the player exits, the download continues to the end.",
        "Lo que quiere el reproductor va primero: los dos extremos del archivo, el punto en que está, lo que sigue, y después el resto. Ningún byte se reproduce antes de verificar su pieza. Cuando el reproductor termina, la descarga sigue hasta el final.",
    ),
    ("files that a peer would not share, and why", "lo que un peer no compartiría, y por qué"),
    (
        "Each line has + or -, the peer, the size and the name; existing files come first.",
        "Cada línea es + o -, el peer, el tamaño y el nombre; lo que ya existe va primero.",
    ),
    ("the memory of the index, by part", "lo que usa el índice, por partes"),
    ("the same for Prometheus", "lo mismo para Prometheus"),
    ("for b3sum --check SUMS", "b3sum --check SUMS lo lee"),
    ("subfolders as well", "también las subcarpetas"),
    (
        "Each file is read completely. OK: a peer shares this content under this name. FAILED: under this name, peers share only other contents. unknown: no peer shares the name, or no provider has hashed the file yet. Exit code 6 if any failed, 7 if any could not be read, 3 if any is unknown.",
        "Cada archivo se lee hasta el final. OK: alguien comparte este contenido con este nombre; FAILED: con este nombre solo hay otros contenidos; unknown: nadie tiene el nombre, o nadie ha calculado el hash todavía. Código de salida 6 si alguno ha fallado, 7 si alguno no se pudo leer, 3 si alguno es desconocido.",
    ),
    ("listens on 127.0.0.1:6111", "escucha en 127.0.0.1:6111"),
    (
        "ONC RPC over TCP, program 1, version 1. If rpcbind runs on this machine, the port is registered there, and --rpc-log 127.0.0.1 is enough.",
        "ONC RPC sobre TCP, programa 1, versión 1. Si rpcbind está en esta máquina, se le informa del puerto, y basta --rpc-log 127.0.0.1.",
    ),
    (
        "users.csv has a user per line, connected.csv user;ip;port;wire, and files/USER.csv file;description.",
        "users.csv tiene un usuario por línea, connected.csv tiene user;ip;port;wire, y files/USER.csv tiene file;description.",
    ),
    (
        "Existing users keep their entries, and receive the new entries. If any line is invalid, nothing is imported.",
        "Los usuarios que ya existen conservan lo que tienen, y reciben lo nuevo. Si una línea no se puede usar, no se importa nada.",
    ),
    ("50 peers join and search for 10 s", "50 peers entran y buscan durante 10 s"),
    (
        "a million names with 5 providers each, until Ctrl-C",
        "un millón de nombres con 5 dueños cada uno, hasta Ctrl-C",
    ),
    ("the same with a Redis: SADD, then SMEMBERS", "lo mismo con un Redis: SADD, después SMEMBERS"),
    (
        "idle peers, and 1000 per second that join and leave",
        "peers en silencio, y 1000 por segundo que entran y se van",
    ),
    (
        "The requests depend on --seed alone. Responses are checked: a number of providers other than --holders gives exit code 6. Load only servers that serve for benchmarks: the command takes their whole capacity.",
        "Las peticiones dependen solo de --seed. Las respuestas se comprueban: tantos dueños como dice --holders, o el código de salida es 6. Úselo solo con servidores destinados a ello: la orden toma todo lo que dan.",
    ),
    (
        "A file with the invite, so that the invite is not on a command line",
        "Un archivo con la invitación, para que no quede en la línea de órdenes",
    ),
    (
        "A group of the member, in place of the earlier groups; repeat for more",
        "Un grupo del miembro, en lugar de los anteriores; repita para más",
    ),
    ("A group of the new member; repeat for more", "Un grupo del nuevo miembro; repita para más"),
    (
        "A group of the new members; repeat for more",
        "Un grupo de los nuevos miembros; repita para más",
    ),
    (
        "Accept that a server of the same address has a new key",
        "Acepta que un servidor de la misma dirección tenga una clave nueva",
    ),
    ("Admit a key that waits for admission", "Admite una clave que espera"),
    (
        "All members of this invite, and the invite",
        "Todos los miembros de esta invitación, y la invitación",
    ),
    (
        "An address of the server in invites [default: those of --listen]; repeat for more",
        "Una dirección del servidor en las invitaciones [por omisión: las de --listen]; repita para más",
    ),
    (
        "An address of the server in the invite [default: as the server knows them]; repeat for more",
        "Una dirección del servidor en la invitación [por omisión: las que el servidor conoce]; repita para más",
    ),
    (
        "Become a member of a closed server by an invite",
        "Entra en un servidor cerrado con una invitación",
    ),
    ("Change the role and the groups of a member", "Cambia el papel y los grupos de un miembro"),
    (
        "Exit code 6 if another program has changed a row.",
        "Código de salida 6 si otro programa ha cambiado una línea.",
    ),
    (
        "Forget a new member that has not been seen for this time",
        "Olvida a un nuevo miembro que no aparece en este tiempo",
    ),
    (
        "Give this name to the new member, also if a revoked member had the name",
        "Da este nombre al nuevo miembro, aunque lo haya tenido un miembro revocado",
    ),
    (
        "Let everyone who reaches the server search, share and fetch without encryption",
        "Deja que todos los que alcanzan el servidor busquen, compartan y bajen sin cifrado",
    ),
    (
        "List the invites that are still valid, instead of making one",
        "Lista las invitaciones aún válidas, en vez de crear una",
    ),
    ("List the keys that wait for admission", "Lista las claves que esperan admisión"),
    ("List the members of a closed server", "Lista los miembros de un servidor cerrado"),
    (
        "Make an invite to a closed server: a secret that admits its bearer",
        "Crea una invitación a un servidor cerrado: un secreto que admite a quien lo tiene",
    ),
    (
        "Revoke a member for ever, or all members of an invite",
        "Revoca a un miembro para siempre, o a todos los miembros de una invitación",
    ),
    (
        "Serve everyone without encryption, whatever the server is",
        "Sirve a todos sin cifrado, sea cual sea el servidor",
    ),
    ("Show a QR code as well", "Muestra también un código QR"),
    (
        "Show new rows as they come, until Ctrl-C",
        "Muestra las líneas nuevas a medida que llegan, hasta Ctrl-C",
    ),
    (
        "Show the audit log of a server: admissions, changes and refusals",
        "Muestra el registro de auditoría de un servidor: admisiones, cambios y rechazos",
    ),
    (
        "Show the server, and your own name and role there",
        "Muestra el servidor, y su nombre y papel en él",
    ),
    (
        "The index server, or its URL with a key, as `cardume server url` prints [default: the server joined last, else 127.0.0.1:1099]. Of several, as in A:1099,B:1099, any that answers",
        "El servidor de índice, o su URL con la clave, como la muestra `cardume server url` [por omisión: el último en que entró, o 127.0.0.1:1099]. De varios, como A:1099,B:1099, uno que responda",
    ),
    (
        "The invite, as `cardume invite` prints it; `-` reads stdin",
        "La invitación, como la muestra `cardume invite`; `-` lee de stdin",
    ),
    (
        "The key of the server is checked before anything is sent. Afterwards the server is the default of --server. Repeating the command changes nothing. Without a token in the invite, the command waits until an administrator admits the key.",
        "La clave del servidor se comprueba antes de enviar nada. Después, el servidor es el de --server por omisión. Repetir la orden no cambia nada. Sin contraseña en la invitación, la orden espera hasta que un administrador admita la clave.",
    ),
    ("The member", "El miembro"),
    (
        "A certificate for browsers, with its chain, in PEM: its names get it, all others the key of the server. Read again when the files change",
        "Un certificado para navegadores, con su cadena, en PEM: sus nombres lo reciben, todos los demás la clave del servidor. Se lee de nuevo cuando los archivos cambian",
    ),
    (
        "The secret key of --tls-cert in PEM: RSA, ECDSA or Ed25519, without a passphrase",
        "La clave secreta de --tls-cert en PEM: RSA, ECDSA o Ed25519, sin contraseña",
    ),
    (
        "Print the URL for a browser as well, if the server has a certificate for browsers",
        "Muestra también la URL para un navegador, si el servidor tiene un certificado para navegadores",
    ),
    ("The name of the server, for people", "El nombre del servidor, para las personas"),
    ("The name or the key that waits", "El nombre o la clave que espera"),
    ("The new role: read, share or admin", "El nuevo papel: read, share o admin"),
    (
        "The number of members that the invite admits",
        "El número de miembros que admite la invitación",
    ),
    (
        "The number of the invite, as `cardume invite --list` shows it",
        "El número de la invitación, como lo muestra `cardume invite --list`",
    ),
    (
        "The role of the new member: read, share or admin",
        "El papel del nuevo miembro: read, share o admin",
    ),
    (
        "Announce the next key of the server, which takes over after 30 days; the server may be running",
        "Anuncia la próxima clave del servidor, que entra en uso en 30 días; el servidor puede estar en marcha",
    ),
    (
        "For a stolen key: let the next key take over now, announced or not",
        "Para una clave robada: la próxima clave entra en uso ahora, anunciada o no",
    ),
    (
        "Let the announced key take over now; clients that have not learned it must join again",
        "La clave anunciada entra en uso ahora; los clientes que no la conocen deben entrar de nuevo",
    ),
    (
        "Make an invite for an administrator, as the holder of the data folder; the server must be stopped",
        "Crea una invitación para un administrador, por quien tiene la carpeta de datos; el servidor debe estar parado",
    ),
    (
        "Peers and clients that connect within the 30 days learn the next key and follow. Others must join again with --replace. Existing invites are good until the change; new invites are good before and after.",
        "Los peers y clientes que se conectan en los 30 días aprenden la próxima clave y la siguen. Los demás deben entrar de nuevo con --replace. Las invitaciones existentes valen hasta el cambio; las nuevas valen antes y después.",
    ),
    (
        "Remove rows of the audit log after so many days; each day counts while the server runs",
        "Elimina líneas del registro de auditoría después de tantos días; un día cuenta mientras el servidor funciona",
    ),
    (
        "The invite admits one administrator within a day. While the server runs, an administrator makes invites by cardume invite.",
        "La invitación admite a un administrador dentro de un día. Mientras el servidor funciona, un administrador crea invitaciones con cardume invite.",
    ),
    (
        "The most rows of the audit log; the first rows beyond are removed",
        "El máximo de líneas del registro de auditoría; las primeras que sobran se eliminan",
    ),
    (
        "The role of the new members: read, share or admin [default: share; with --as, role and groups of the revoked member]",
        "El papel de los nuevos miembros: read, share o admin [por omisión: share; con --as, papel y grupos del miembro revocado]",
    ),
    (
        "The time until the invite expires: 90s, 15m, 24h or 30d",
        "El tiempo hasta que vence la invitación: 90s, 15m, 24h o 30d",
    ),
    (
        "A folder that takes files from visitors of this peer's page; it must exist",
        "Una carpeta que recibe archivos de visitantes de la página de este peer; debe existir",
    ),
    (
        "Whether a file of a visitor needs an answer at the console; a yes holds for ten minutes",
        "Si un archivo de un visitante necesita una respuesta en la consola; un sí vale por diez minutos",
    ),
    ("The largest file that the drop folder takes", "El mayor archivo que la carpeta recibe"),
    ("All bytes that the drop folder may hold", "Todos los bytes que la carpeta puede tener"),
    ("All files that the drop folder may hold", "Todos los archivos que la carpeta puede tener"),
    ("Take files without a question", "Recibe archivos sin preguntar"),
    ("Prompt for consent", "Pide la aprobación"),
    (
        "Show no pictures of videos on the page. By default ffmpeg makes one, where installed",
        "No mostrar imágenes de vídeos en la página. En general ffmpeg hace una, donde está instalado",
    ),
    (
        "Treat programs of the same user on this machine as strangers",
        "Trata como extraños los programas del mismo usuario en esta máquina",
    ),
    (
        "Treat programs of the same user on this machine as strangers; by default they are administrators and need no encryption",
        "Trata como extraños los programas del mismo usuario en esta máquina; en general son administradores, y no necesitan cifrado",
    ),
    ("Withdraw an invite; its members stay", "Retira una invitación; los miembros se quedan"),
    (
        "Your name on the server [default: the name of your account on this machine]",
        "Su nombre en el servidor [por omisión: el de su cuenta en esta máquina]",
    ),
    ("keys that wait for admission", "claves que esperan admisión"),
    ("name, role, groups, key, last seen", "nombre, papel, grupos, clave, última vez"),
    ("one person, 24 hours", "una persona, 24 horas"),
    ("the invites that are still valid", "las invitaciones aún válidas"),
    ("the quotes keep the shell from reading the #", "las comillas impiden que el shell lea el #"),
    ("the server, and your name and role there", "el servidor, y su nombre y papel en él"),
    ("with this address of the server", "con esta dirección del servidor"),
];

/// Texts of clap and its generators; a longer text stands before its own prefix.
const FRAME: &[(&str, &str)] = &[
    ("Usage:", "Uso:"),
    ("Commands:", "Órdenes:"),
    ("Arguments:", "Argumentos:"),
    ("Options:", "Opciones:"),
    ("[OPTIONS]", "[OPCIONES]"),
    ("<COMMAND>", "<ORDEN>"),
    ("[COMMAND]", "[ORDEN]"),
    ("[default:", "[por defecto:"),
    ("[env:", "[entorno:"),
    ("[possible values:", "[valores posibles:"),
    ("Possible values:", "Valores posibles:"),
    ("Print help (see more with", "Muestra la ayuda (más con"),
    ("Print help (see a summary with", "Muestra la ayuda (un resumen con"),
    ("Print help", "Muestra la ayuda"),
    ("Print version", "Muestra la versión"),
    (
        "Print this message or the help of the given subcommand(s)",
        "Muestra esta ayuda o la de una orden",
    ),
    (".SH NAME", ".SH NOMBRE"),
    (".SH SYNOPSIS", ".SH SINOPSIS"),
    (".SH DESCRIPTION", ".SH DESCRIPCIÓN"),
    (".SH OPTIONS", ".SH OPCIONES"),
    (".SH SUBCOMMANDS", ".SH ÓRDENES"),
    ("<\\fIsubcommands\\fR>", "<\\fIorden\\fR>"),
    ("[\\fIsubcommands\\fR]", "[\\fIorden\\fR]"),
    (".SH EXTRA", ".SH MÁS"),
    (".SH VERSION", ".SH VERSIÓN"),
    ("May also be specified with the", "También vale la variable"),
    ("environment variable.", "del entorno."),
];

/// Messages of one line; the more special prefix stands first.
const MESSAGES: &[(&str, &str)] = &[
    ("the running peer does not answer in time", "el peer en marcha no responde a tiempo"),
    ("no poster of {}: {}", "sin imagen de portada de {}: {}"),
    ("the drop folder: {}", "la carpeta de entrega: {}"),
    ("a poster is not kept: {}", "una imagen de portada no se guardó: {}"),
    ("no posters: {}", "sin imágenes de portada: {}"),
    ("no earlier posters: {}", "sin imágenes de portada anteriores: {}"),
    (
        "a program of user {} may not use the control socket",
        "un programa del usuario {} no puede usar el socket de control",
    ),
    (
        "file {} of the state folder can't be read: {}",
        "el archivo {} de la carpeta de estado no se puede leer: {}",
    ),
    (
        "file {} of the state folder can't be written: {}",
        "el archivo {} de la carpeta de estado no se puede escribir: {}",
    ),
    (
        "file {} of the state folder is damaged: {} records are good, {} bytes are lost",
        "el archivo {} de la carpeta de estado está dañado: {} registros son buenos, {} bytes se perdieron",
    ),
    (
        "{} entries of the queue are not valid and were dropped",
        "{} entradas de la cola no son válidas y se descartaron",
    ),
    (
        "no peer runs with the state folder {}",
        "ningún peer está en marcha con la carpeta de estado {}",
    ),
    (
        "several peers run: choose one by --state DIR or --process {}",
        "hay varios peers en marcha: elija uno con --state DIR o --process {}",
    ),
    (
        "no peer of this user runs; start one by cardume peer --state DIR",
        "ningún peer de este usuario está en marcha; inicie uno con cardume peer --state DIR",
    ),
    ("the running peer does not answer: {}", "el peer en marcha no responde: {}"),
    ("--state {}: another peer uses this folder", "--state {}: otro peer usa esta carpeta"),
    ("--accounts-engine needs --index", "--accounts-engine requiere --index"),
    (
        "--index needs --open: members are not shared between servers",
        "--index requiere --open: los miembros no se comparten entre servidores",
    ),
    (
        "--index-ca needs rediss:// in place of redis://",
        "--index-ca requiere rediss:// en lugar de redis://",
    ),
    (
        "another program has keys of the same names in the engine; choose a --index-prefix",
        "otro programa tiene claves con los mismos nombres en el motor; elija un --index-prefix",
    ),
    (
        "--index-prefix: at most 64 letters, digits and signs, without braces",
        "--index-prefix: como máximo 64 letras, dígitos y signos, sin llaves",
    ),
    (
        "the address of an engine begins with redis:// or rediss://",
        "la dirección de un motor empieza con redis:// o rediss://",
    ),
    (
        "the address of an engine needs 1 to 16 hosts: redis://HOST:PORT",
        "la dirección de un motor necesita de 1 a 16 máquinas: redis://HOST:PORT",
    ),
    (
        "the address of an engine has a wrong host; IPv6 needs brackets",
        "la dirección de un motor tiene una máquina errónea; IPv6 necesita corchetes",
    ),
    (
        "the address of an engine has a wrong port",
        "la dirección de un motor tiene un puerto erróneo",
    ),
    (
        "the address of an engine has a user without a password",
        "la dirección de un motor tiene un usuario sin contraseña",
    ),
    (
        "the address of an engine has a wrong user or password; write special characters as %XX",
        "la dirección de un motor tiene usuario o contraseña erróneos; escriba los caracteres especiales como %XX",
    ),
    (
        "the address of an engine has a database; only 0 is possible",
        "la dirección de un motor tiene una base de datos; solo 0 es posible",
    ),
    (
        "the address of an engine ends after the hosts; remove ? and #",
        "la dirección de un motor termina después de las máquinas; quite ? y #",
    ),
    ("a link has a number of 8 hex digits", "un enlace tiene un número de 8 dígitos hexadecimales"),
    (
        "a host is like 203.0.113.9, nas.example or nas.example:8443",
        "una máquina es como 203.0.113.9, nas.example o nas.example:8443",
    ),
    ("a link lasts at most 49710d", "un enlace vale como máximo 49710d"),
    ("members: {}", "miembros: {}"),
    ("audit: row {} was added by another program", "auditoría: otro programa añadió la fila {}"),
    ("an invite has at most {} bytes", "una invitación tiene como máximo {} bytes"),
    (
        "the invite has no key: put the whole text between quotes",
        "falta la clave en la invitación: ponga el texto entero entre comillas",
    ),
    ("an invite has at most {} addresses", "una invitación tiene como máximo {} direcciones"),
    (
        "address {} of the invite is not HOST or HOST:PORT",
        "la dirección {} de la invitación no es HOST ni HOST:PUERTO",
    ),
    (
        "the key of the server in the invite is wrong",
        "la clave del servidor en la invitación es incorrecta",
    ),
    ("the token of the invite is wrong", "el código de la invitación es incorrecto"),
    ("a rate is like 100MB or 1.5MiB, per second", "una tasa es como 100MB o 1.5MiB, por segundo"),
    ("a rate is at least 1 byte a second", "una tasa es de al menos 1 byte por segundo"),
    (
        "a peer is like 127.0.0.1:4000 or rede@127.0.0.1:4000; the legacy profiles are {}",
        "un peer es como 127.0.0.1:4000 o rede@127.0.0.1:4000; los protocolos antiguos son {}",
    ),
    (
        "an address is like 127.0.0.1:4000, [::1]:4000 or [fe80::1%eth0]:4000",
        "una dirección es como 127.0.0.1:4000, [::1]:4000 o [fe80::1%eth0]:4000",
    ),
    (
        "an address is like 192.0.2.7 or 192.0.2.7:4000",
        "una dirección es como 192.0.2.7 o 192.0.2.7:4000",
    ),
    (
        "a name is like videos.example, without a port; non-ASCII names begin with xn--",
        "un nombre es como videos.example, sin puerto; los que no son ASCII empiezan por xn--",
    ),
    ("a port is like 5000 or 192.168.1.9:5000", "un puerto es como 5000 o 192.168.1.9:5000"),
    (
        "{} speaks {}, which this server can't serve",
        "{} habla {}, que este servidor no sabe atender",
    ),
    (
        "the UDP ports of music-udp are from 2024 to 65535",
        "los puertos UDP de music-udp van de 2024 a 65535",
    ),
    (
        "the ports of this protocol are from 1024 to 65535, or 0 for a free one",
        "los puertos de este protocolo van de 1024 a 65535, o 0 para uno libre",
    ),
    (
        "{} is not an edition: use 2020, 2020-int, 2024, 2024-plain, 2025 or fixed",
        "{} no es una edición: hay 2020, 2020-int, 2024, 2024-plain, 2025 y fixed",
    ),
    (
        "a console is napster, rede, music, or uc3m with an optional edition, as in uc3m:2024",
        "una consola es napster, rede, music, o uc3m y quizá su edición, como en uc3m:2024",
    ),
    ("sizes are like 700M..4G, 700M.. or ..4G", "los tamaños son como 700M..4G, 700M.. o ..4G"),
    ("the first size is above the second", "el primer tamaño es mayor que el segundo"),
    ("a size is like 512MiB or 2GiB", "un tamaño es como 512MiB o 2GiB"),
    ("an index needs at least {}MiB", "un índice necesita al menos {}MiB"),
    ("a range is like 192.168.0.0/16", "un rango es como 192.168.0.0/16"),
    (
        "a UDP port is like 4000 or 192.168.1.9:4000",
        "un puerto UDP es como 4000 o 192.168.1.9:4000",
    ),
    ("seconds are from 0.01 to 86400", "los segundos van de 0.01 a 86400"),
    ("an exponent is from 0 to 4", "un exponente va de 0 a 4"),
    ("a mix is like search=90,join=5,leave=5", "una mezcla es como search=90,join=5,leave=5"),
    ("a mix is of search, join, update and leave", "una mezcla es de search, join, update y leave"),
    ("{} appears twice", "{} aparece dos veces"),
    ("a weight is a number up to 1000000", "un peso es un número hasta 1000000"),
    ("at least one weight must be above 0", "al menos un peso es mayor que 0"),
    ("invalid digit found in string", "no es un número entero"),
    ("cannot parse integer from empty string", "falta un número"),
    ("number too large to fit in target type", "el número es demasiado grande"),
    ("number too small to fit in target type", "el número es demasiado pequeño"),
    ("{} is not in {}..={}", "{} no está entre {} y {}"),
    ("{}: no such command", "{}: no existe esta orden"),
    ("--json and -o - both want stdout", "--json y -o - quieren ambos la salida estándar"),
    ("--sort {}: name, -name, size or -size", "--sort {}: name, -name, size o -size"),
    (
        "search for a NAME, --contains TEXT, --like TEXT, or by --ext, --size, --description, --owner",
        "busque un NAME, --contains TEXT, --like TEXT, o por --ext, --size, --description, --owner",
    ),
    ("only one of NAME, --contains and --like", "solo uno de NAME, --contains y --like"),
    ("--udp-port goes with --transport quic", "--udp-port acompaña a --transport quic"),
    (
        "--transport quic needs the index for the key of the peer: omit --from",
        "--transport quic necesita el índice, que conoce la clave de un peer: quite --from",
    ),
    ("this program was built without QUIC", "este programa se compiló sin QUIC"),
    ("--rpc-log {}: not a HOST[:PORT]", "--rpc-log {}: no es HOST[:PORT]"),
    (
        "--server: all servers of a list need the same key",
        "--server: todos los servidores de una lista necesitan la misma clave",
    ),
    ("a name is too long", "un nombre es demasiado largo"),
    ("--server: no server is named", "--server: falta el servidor"),
    (
        "a port needs --folder: the files to share",
        "un puerto necesita --folder: los archivos que se comparten",
    ),
    (
        "a description is one line of at most 255 bytes",
        "una descripción es una línea de 255 bytes como máximo",
    ),
    ("ls: a peer is missing, such as 127.0.0.1:4000", "ls: falta un peer, como 127.0.0.1:4000"),
    ("--as compares exactly one folder", "--as compara exactamente una carpeta"),
    (
        "no person can answer here: --yes downloads without a question",
        "nadie puede responder aquí: --yes descarga sin preguntar",
    ),
    ("--hash is the root of exactly one file", "--hash es la raíz de exactamente un archivo"),
    ("--output is the place of exactly one file", "--output es el lugar de exactamente un archivo"),
    ("a node of the engine: {}", "un nodo del motor: {}"),
    (
        "the engine keeps no file of the accounts: a node that restarts loses them; set appendonly yes",
        "el motor no guarda las cuentas en un archivo: un nodo que se reinicia las pierde; use appendonly yes",
    ),
    (
        "the engine has accounts of two origins; no account can be used",
        "el motor tiene cuentas de dos orígenes; no se puede usar ninguna cuenta",
    ),
    ("the list has no name", "la lista no tiene ningún nombre"),
    ("--input {}: the list is longer than 64 MiB", "--input {}: la lista pasa de 64 MiB"),
    ("--input {}: the list is no UTF-8 text", "--input {}: la lista no es texto UTF-8"),
    ("--for-group: at most {} groups", "--for-group: como máximo {} grupos"),
    ("a group has 1 to 32 of a-z, 0-9 and -", "un grupo tiene de 1 a 32 de a-z, 0-9 y -"),
    ("--exclude {}: too long, or too many patterns", "--exclude {}: demasiado largo, o uno de más"),
    (
        "--data {}: this program was built without the account store",
        "--data {}: este programa se compiló sin el almacén de cuentas",
    ),
    (
        "this program was built without the account store: use --data none to keep accounts in memory only",
        "este programa se compiló sin el almacén de cuentas: use --data none para un servidor que olvida las cuentas",
    ),
    (
        "without a home folder, --data must name the folder of the accounts",
        "sin carpeta personal, --data tiene que decir dónde están las cuentas",
    ),
    (
        "a pattern needs a word without -, and at most 255 bytes",
        "un patrón tiene al menos una palabra deseada, y 255 bytes como máximo",
    ),
    (
        "{} connections, including --churn: the system allows this process {}",
        "{} conexiones con las de los visitantes: el sistema permite {} a este proceso",
    ),
    ("--server-pid {}: no such process here", "--server-pid {}: no existe este proceso aquí"),
    (
        "{} files of each peer need as many names: more peers, or a larger --names than {}",
        "{} archivos de cada peer necesitan tantos nombres: use más peers, o --names mayor que {}",
    ),
    (
        "{} files of each peer are more than a server takes: --peers must be larger",
        "{} archivos de cada peer son más de los que acepta un servidor: aumente --peers",
    ),
    (
        "--mix: without files, and with --resp, the only operation is search",
        "--mix: sin archivos, y con --resp, solo se puede hacer search",
    ),
    (
        "--reconnect: without files, and with --resp, no peer joins again",
        "--reconnect: sin archivos, y con --resp, ningún peer entra de nuevo",
    ),
    (
        "--churn: without files, and with --resp, no peer joins or leaves",
        "--churn: sin archivos, y con --resp, nadie entra ni sale",
    ),
    ("the loop failed: {}", "el bucle de eventos ha fallado: {}"),
    ("cannot create the system's poll: {}", "el sistema no da el poll: {}"),
    ("a search needs something to go by", "una búsqueda necesita algún criterio"),
    (
        "ext holds at most {} extensions of {} bytes",
        "ext tiene como máximo {} extensiones de {} bytes",
    ),
    (
        "an extension is what follows the last dot, without it",
        "una extensión es lo que sigue al último punto, sin él",
    ),
    ("an integer is at most 2^53-1", "un entero es como máximo 2^53-1"),
    ("min_size is above max_size", "el tamaño mínimo es mayor que el máximo"),
    ("limit is not from 1 to {}", "el límite no está entre 1 y {}"),
    (
        "contains holds at most {} bytes and {} words",
        "--contains tiene como máximo {} bytes y {} palabras",
    ),
    ("like holds at most {} bytes and {} words", "--like tiene como máximo {} bytes y {} palabras"),
    (
        "description holds at most {} bytes and {} words",
        "--description tiene como máximo {} bytes y {} palabras",
    ),
    (
        "contains holds no word to look for",
        "--contains no tiene ninguna palabra que se pueda buscar",
    ),
    ("like holds no word to look for", "--like no tiene ninguna palabra que se pueda buscar"),
    (
        "description holds no word to look for",
        "--description no tiene ninguna palabra que se pueda buscar",
    ),
    (
        "{}: line {}: expected a name, a blank and a path",
        "{}: línea {}: esperaba un nombre, un espacio y una ruta",
    ),
    (
        "{}: line {}: {}: what begins with a dot is not shared",
        "{}: línea {}: {}: lo que empieza por punto no se comparte",
    ),
    (
        "{}: line {}: {}: a name with folders needs --recursive",
        "{}: línea {}: {}: un nombre con carpetas necesita --recursive",
    ),
    ("{}: line {}: {}: not the path of a file", "{}: línea {}: {}: no es la ruta de un archivo"),
    (
        "{}: line {}: {}: a secret key is not shared",
        "{}: línea {}: {}: una clave secreta no se comparte",
    ),
    ("{}: line {}: {}: not a list of groups", "{}: línea {}: {}: no es una lista de grupos"),
    ("{}: line {}: {}: this name came before", "{}: línea {}: {}: este nombre ya ha aparecido"),
    ("{}: line {}: {}: no such file", "{}: línea {}: {}: no existe este archivo"),
    ("{}: line {}: {}", "{}: línea {}: {}"),
    ("{}: a manifest has at most {} MiB", "{}: un manifiesto tiene como máximo {} MiB"),
    ("{}:{}: the quotes don't match", "{}:{}: las comillas no cierran"),
    ("{}:{}: the row has more than {} bytes", "{}:{}: la línea tiene más de {} bytes"),
    ("{}:{}: this is not UTF-8", "{}:{}: no es UTF-8"),
    ("{}:{}: {} fields instead of {}", "{}:{}: {} campos en lugar de {}"),
    ("{}:{}: not a valid user name", "{}:{}: ningún usuario puede llamarse así"),
    (
        "{}:{}: a key has 64 lower-case hex digits, and must not be weak",
        "{}:{}: una clave tiene 64 dígitos hexadecimales en minúscula, y no es una que cualquiera podría usar",
    ),
    ("{}:{}: not an IP and port", "{}:{}: no es una IP y un puerto"),
    ("{}:{}: not the name of a protocol", "{}:{}: ningún protocolo tiene este nombre"),
    ("{}:{}: not a valid file name", "{}:{}: ningún archivo se puede publicar con este nombre"),
    ("{}:{}: not a valid description", "{}:{}: no puede ser una descripción"),
    ("{}:{}: users.csv has no such user", "{}:{}: users.csv no tiene este usuario"),
    (
        "{}: files of users missing from users.csv, skipped: {}",
        "{}: archivos de usuarios que users.csv no nombra, omitidos: {}",
    ),
    (
        "{}: a newer cardume has written accounts.sqlite (form {}, this one knows {})",
        "{}: un cardume más nuevo ha escrito accounts.sqlite (formato {}, este conoce {})",
    ),
    ("{}: there is no accounts.sqlite", "{}: no hay accounts.sqlite"),
    ("{}: not a folder", "{}: no es una carpeta"),
    (
        "a connection from {} could not be registered: {}",
        "una conexión de {} no se pudo registrar: {}",
    ),
    ("{} is turned away: too many connections", "{} se rechaza: demasiadas conexiones"),
    ("no more connections for now: {}", "sin conexiones nuevas por ahora: {}"),
    (
        "a connection from {} is closed: it stalls in the middle of a request, and others need its memory",
        "una conexión de {} se cierra: se quedó en medio de una petición, y otras necesitan su memoria",
    ),
    (
        "a connection from {} is closed: too many answers wait for it",
        "una conexión de {} se cierra: demasiadas respuestas la esperan",
    ),
    (
        "the port mapper does not take our port; the index has to be told it, by --rpc-log HOST:PORT",
        "el mapeador de puertos no acepta nuestro puerto; indíquelo al índice, con --rpc-log HOST:PORT",
    ),
    ("accounts: {}", "cuentas: {}"),
    (
        "the operation log does not keep up: its oldest lines are dropped",
        "el registro de operaciones no da abasto: se descartan sus líneas más antiguas",
    ),
    ("the operation log is there again", "el registro de operaciones ha vuelto"),
    (
        "{} lines of the operation log were dropped",
        "se descartaron {} líneas del registro de operaciones",
    ),
    ("the operation log is away: {}", "el registro de operaciones está ausente: {}"),
    ("the server says: {}", "el servidor dice: {}"),
    (
        "{}: its bytes are others than those that were hashed; it is hashed anew",
        "{}: los bytes ya no son los del hash; se calcula de nuevo",
    ),
    (
        "{}: the record could not be written: {}",
        "{}: el registro de la descarga no se pudo escribir: {}",
    ),
    (
        "{} lines of {} found no reader in time and were dropped",
        "{} líneas de {} no hallaron lector a tiempo y se descartaron",
    ),
    (
        "the connections by QUIC of a port are given up: their state is broken",
        "se abandonan las conexiones QUIC de un puerto: su estado está dañado",
    ),
    ("{} is skipped: its key is weak", "{} queda fuera: cualquiera podría usar su clave"),
    ("the log of {} grows: {}", "el registro de {} crece: {}"),
    ("{} does not roll back: {}", "{} no deshace la transacción: {}"),
    (
        "users who are gone stay in {} for now: {}",
        "los usuarios que se fueron quedan en {} por ahora: {}",
    ),
    ("{}: only the first {} files are taken", "{}: solo se consideran los primeros {} archivos"),
    ("{} is not read: {}", "{} no se ha leído: {}"),
    (
        "others may read the key of this user: chmod 600 it",
        "otros pueden leer la clave de este usuario: use chmod 600 en ella",
    ),
    (
        "{}: its .part was written by another program, and is hashed",
        "{}: el .part lo escribió otro programa, y se calcula su hash",
    ),
    (
        "{}: {} pieces were wrong and are fetched again",
        "{}: {} piezas estaban mal y se descargan de nuevo",
    ),
    ("the first refusal: {}", "el primer rechazo: {}"),
    ("no key for a pass: {}", "sin clave para un pase: {}"),
    ("no key for the pass: {}", "sin clave para el pase: {}"),
    ("audit: {}", "auditoría: {}"),
    (
        "others may read the servers of this user: chmod 600 the file",
        "otros pueden leer los servidores de este usuario: chmod 600 al archivo",
    ),
    (
        "cannot tell the user of a local connection: {}",
        "no se puede saber de quién es una conexión local: {}",
    ),
    ("join: an invite is missing", "join: falta la invitación"),
    (
        "join: say --name, as your account has no name",
        "join: diga --name, pues su cuenta no tiene nombre",
    ),
    ("revoke: a name is missing", "revoke: falta un nombre"),
    ("a member is in at most 16 groups", "un miembro está en 16 grupos como máximo"),
    (
        "the address belongs to a server with the key {}, and the invite has {}: say --replace if that is right",
        "la dirección es de un servidor con la clave {}, y la invitación trae {}: diga --replace si es correcto",
    ),
    ("a group is a word of a-z, 0-9 and -", "un grupo es una palabra de a-z, 0-9 y -"),
    ("a name must not {}", "un nombre no puede {}"),
    ("a role is read, share or admin", "un papel es read, share o admin"),
    (
        "an invite has a number of 8 hex digits",
        "una invitación tiene un número de 8 dígitos hexadecimales",
    ),
    ("a time is like 90s, 15m, 24h or 30d", "un tiempo es como 90s, 15m, 24h o 30d"),
    ("{}: this is no certificate in PEM", "{}: esto no es un certificado en PEM"),
    ("{}: the certificate has errors", "{}: el certificado tiene errores"),
    ("{}: the certificate has no DNS name", "{}: el certificado no tiene nombre DNS"),
    (
        "{}: this is no key in PEM, or a key with a passphrase",
        "{}: esto no es una clave en PEM, o es una clave con contraseña",
    ),
    ("{}: the key is not of RSA, ECDSA or Ed25519", "{}: la clave no es de RSA, ECDSA ni Ed25519"),
    ("{}: the key belongs to another certificate", "{}: la clave es de otro certificado"),
    (
        "{}: every user may read the key: chmod 600 it",
        "{}: cualquier usuario puede leer la clave: use chmod 600 en ella",
    ),
    (
        "{}: the certificate has expired, and browsers refuse it",
        "{}: el certificado ha caducado, y los navegadores lo rechazan",
    ),
    (
        "{}: the certificate is not valid yet, and browsers refuse it",
        "{}: el certificado aún no vale, y los navegadores lo rechazan",
    ),
    ("the earlier certificate stays in use", "el certificado anterior sigue en uso"),
    ("a name is a line of at most 64 bytes", "un nombre es una línea de 64 bytes como máximo"),
    (
        "an address is like video.example.org or 192.168.1.9:1099",
        "una dirección es como video.example.org o 192.168.1.9:1099",
    ),
    (
        "the server announces a next key with a wrong signature: ignored",
        "el servidor anuncia una próxima clave con una firma incorrecta: ignorada",
    ),
    (
        "the server announces another next key than before: ignored",
        "el servidor anuncia otra próxima clave distinta de la anterior: ignorada",
    ),
    (
        "the server announces a next key of a wrong form: ignored",
        "el servidor anuncia una próxima clave de forma incorrecta: ignorada",
    ),
    (
        "the new key of the server is not kept: {}",
        "la nueva clave del servidor no se ha guardado: {}",
    ),
    ("the next key does not take over: {}", "la próxima clave no entra en uso: {}"),
    ("the key of the server is not read: {}", "la clave del servidor no se puede leer: {}"),
    ("the server has the key {} from now on", "el servidor tiene la clave {} desde ahora"),
    (
        "the next key of the server is announced: {}",
        "la próxima clave del servidor está anunciada: {}",
    ),
    ("the new key is not shown: {}", "la nueva clave no se muestra: {}"),
    (
        "no next key is announced: rotate-key without --finish announces one",
        "no hay ninguna próxima clave anunciada: rotate-key sin --finish anuncia una",
    ),
    (
        "the next key has just taken over: nothing is left to do",
        "la próxima clave acaba de entrar en uso: no queda nada por hacer",
    ),
    (
        "the next key {} is announced already: --finish lets it take over now",
        "la próxima clave {} ya está anunciada: --finish hace que entre en uso ahora",
    ),
    (
        "the server has this key: a running server shows it within seconds, a stopped one from its next start on",
        "el servidor tiene esta clave: un servidor en marcha la muestra en segundos, uno parado desde el próximo inicio",
    ),
    (
        "this key takes over in 30 days: a running server announces it within seconds, a stopped one from its next start on",
        "esta clave entra en uso en 30 días: un servidor en marcha la anuncia en segundos, uno parado desde el próximo inicio",
    ),
    ("{}: no server has a key here", "{}: ningún servidor tiene una clave aquí"),
    ("{}: the file is missing", "{}: el fichero no existe"),
    (
        "the server is another one: only members of the earlier server are served",
        "el servidor es otro: solo se sirve a los miembros del anterior",
    ),
    ("an invite begins with cardume://", "una invitación empieza con cardume://"),
    (
        "a reason is one line of at most 255 bytes",
        "un motivo es una línea de 255 bytes como máximo",
    ),
    ("the limits are {}", "los límites son {}"),
    ("{} is a number from {} to {}, or default", "{} es un número de {} a {}, o default"),
    (
        "a range is like 192.0.2.7, 10.1.0.0/16 or 2001:db8::/64",
        "un rango es como 192.0.2.7, 10.1.0.0/16 o 2001:db8::/64",
    ),
    (
        "the address of a range has no bits behind the prefix",
        "la dirección de un rango no tiene bits tras el prefijo",
    ),
    (
        "a range of all addresses would ban everyone",
        "un rango de todas las direcciones vetaría a todos",
    ),
    ("{}: the settings are no UTF-8 text", "{}: la configuración no es texto UTF-8"),
    ("{}: the settings are longer than 1 MiB", "{}: la configuración tiene más de 1 MiB"),
    ("{}: no valid TOML: {}", "{}: TOML no válido: {}"),
    (
        "{}: the key {} is in no section, such as [server]",
        "{}: la clave {} está fuera de una sección, como [server]",
    ),
    ("{}: unknown section {}", "{}: sección desconocida {}"),
    ("{}: unknown key {} in [{}]", "{}: clave desconocida {} en [{}]"),
    ("{}: {} is true or false", "{}: {} es true o false"),
    ("{}: {} is a text or a number", "{}: {} es un texto o un número"),
    ("{}: {} is a single value, without brackets", "{}: {} es un solo valor, sin corchetes"),
    ("{}: the value is no UTF-8 text", "{}: el valor no es texto UTF-8"),
    ("{}: {} is neither true nor false", "{}: {} no es true ni false"),
    ("no settings file: {}", "no hay archivo de configuración: {}"),
    (
        "a schedule is like '08:00-18:00 upload=1MB download=none'",
        "un horario es como '08:00-18:00 upload=1MB download=none'",
    ),
    ("the settings stay as they are: {}", "la configuración queda como está: {}"),
    ("the log goes on in the earlier file: {}", "el registro sigue en el archivo anterior: {}"),
    (
        "the settings are read again, and none has changed",
        "la configuración se ha leído de nuevo, y nada ha cambiado",
    ),
    ("{} is {} from now on", "{} es {} desde ahora"),
    ("{} is not set any more", "{} ya no está definido"),
    ("{} has changed and needs a restart", "{} ha cambiado y exige un reinicio"),
    ("{} stays as it is: {}", "{} queda como está: {}"),
    (
        "no server or peer of this user runs",
        "ningún servidor o peer de este usuario está en ejecución",
    ),
    ("process {} does not answer", "el proceso {} no responde"),
    ("--log-file {}: {}", "--log-file {}: {}"),
    (
        "the hook {} is left out: too many calls wait",
        "el hook {} se omite: esperan demasiadas llamadas",
    ),
    ("the hook {} cannot be started: {}", "el hook {} no se puede iniciar: {}"),
    ("the hook {} ran too long and was killed: {}", "el hook {} tardó demasiado y se mató: {}"),
    ("the hook {} failed with {}: {}", "el hook {} falló con {}: {}"),
    ("the hook {} is lost: {}", "el hook {} se perdió: {}"),
    ("--incomplete-dir {}: {}", "--incomplete-dir {}: {}"),
    (
        "another file system than the folder of the downloads",
        "otro sistema de archivos que el de la carpeta de las descargas",
    ),
    ("the folder has files already", "la carpeta ya tiene archivos"),
    (
        "not done after {} s; repeat the command to go on",
        "no terminó en {} s; repita la orden para continuar",
    ),
    ("the passed socket {} does not listen for TCP", "el socket recibido {} no escucha por TCP"),
];
