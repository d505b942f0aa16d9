//! The command line in Portuguese.

use crate::cli::translate::Table;

/// All texts, in the order in which a user meets them.
pub const TABLE: Table = Table { help: HELP, frame: FRAME, messages: MESSAGES };

/// Texts of the command definitions.
const HELP: &[(&str, &str)] = &[
    (
        "The folder of the download queue, the history and the blocked requesters, so that a restart goes on where the peer ended; created if missing. Without the folder, these are in memory",
        "A pasta da fila de downloads, do histórico e dos bloqueios, para que um reinício continue de onde o peer parou; criada se faltar. Sem a pasta, ficam na memória",
    ),
    (
        "Downloads of the queue at the same time; a GET of the console does not wait",
        "Downloads da fila ao mesmo tempo; um GET do console não espera",
    ),
    (
        "List the downloads and uploads of your running peer",
        "Lista os downloads e uploads do seu peer em execução",
    ),
    (
        "number, way, state, bytes here, size, rate, name, peer",
        "número, sentido, estado, bytes aqui, tamanho, taxa, nome, peer",
    ),
    (
        "The commands transfers, add, pause, resume, cancel, top, limit, block, allow, blocked and history ask a running peer of the same user by a socket. With --state DIR, a peer keeps its queue, its history and its blocks over a restart. Exit code 3 if no peer runs, 2 if several run and none was chosen.",
        "Os comandos transfers, add, pause, resume, cancel, top, limit, block, allow, blocked e history pedem a um peer em execução do mesmo usuário, por um socket. Com --state DIR, um peer guarda a fila, o histórico e os bloqueios num reinício. Código de saída 3 se nenhum peer executa, 2 se vários executam e nenhum foi escolhido.",
    ),
    ("Only the uploads", "Só os uploads"),
    ("Only the downloads", "Só os downloads"),
    (
        "The state folder of the running peer, as its --state [default: the only running peer of this user]",
        "A pasta de estado do peer em execução, como o --state dele [padrão: o único peer em execução deste usuário]",
    ),
    ("The number of the process of the running peer", "O número do processo do peer em execução"),
    (
        "Append files or folders to the download queue of your running peer",
        "Acrescenta arquivos ou pastas à fila de downloads do seu peer em execução",
    ),
    (
        "A file without a provider is looked up again, first after 15 seconds, at last each 10 minutes.",
        "Um arquivo sem provedor é procurado de novo, primeiro após 15 segundos, por fim a cada 10 minutos.",
    ),
    (
        "A file with one name a line, after the names given here; `-` is stdin",
        "Um arquivo com um nome por linha, depois dos nomes dados aqui; `-` é a entrada padrão",
    ),
    ("Download from this peer alone", "Baixa só deste peer"),
    ("Do not begin before `cardume resume`", "Não começa antes de `cardume resume`"),
    (
        "Stop downloads of your running peer; `cardume resume` continues them",
        "Para downloads do seu peer em execução; `cardume resume` os continua",
    ),
    (
        "Numbers or names, as `cardume transfers` prints them",
        "Números ou nomes, como `cardume transfers` os mostra",
    ),
    ("All downloads of the queue", "Todos os downloads da fila"),
    (
        "Continue paused or failed downloads of your running peer",
        "Continua downloads pausados ou falhos do seu peer em execução",
    ),
    (
        "Remove downloads from the queue of your running peer; the bytes so far stay in the .part",
        "Remove downloads da fila do seu peer em execução; os bytes recebidos ficam no .part",
    ),
    (
        "Move downloads to the front of the queue of your running peer",
        "Move downloads para o começo da fila do seu peer em execução",
    ),
    (
        "Show or set the rate limits of your running peer, until the peer restarts",
        "Mostra ou define os limites de taxa do seu peer em execução, até ele reiniciar",
    ),
    (
        "At the hours of --schedule, its limits hold instead.",
        "Nas horas de --schedule valem os limites de lá.",
    ),
    (
        "Bytes sent per second, over all uploads; `none` lifts the limit",
        "Bytes enviados por segundo, somando todos os uploads; `none` tira o limite",
    ),
    (
        "Bytes received per second, over all downloads; `none` lifts the limit",
        "Bytes recebidos por segundo, somando todos os downloads; `none` tira o limite",
    ),
    (
        "Refuse all requests of an address or a member at your running peer, and cut its uploads",
        "Recusa todos os pedidos de um endereço ou membro no seu peer em execução, e corta seus uploads",
    ),
    ("a member of a closed server", "um membro de um servidor fechado"),
    (
        "The requester reads the code `refused`. A member can also be named by the key.",
        "Quem pede lê o código `refused`. Um membro também pode ser nomeado pela chave.",
    ),
    (
        "An address, a range such as 10.0.0.0/8, the key of a member, or the name of a member",
        "Um endereço, um intervalo como 10.0.0.0/8, a chave de um membro, ou o nome de um membro",
    ),
    ("Serve a blocked address or member again", "Volta a servir um endereço ou membro bloqueado"),
    (
        "List the blocked addresses and members of your running peer",
        "Lista os endereços e membros bloqueados do seu peer em execução",
    ),
    (
        "List the past downloads and uploads of your running peer",
        "Lista os downloads e uploads passados do seu peer em execução",
    ),
    ("time, outcome, size, name, peer", "hora, resultado, tamanho, nome, peer"),
    (
        "An upload is all that a connection has fetched of a file, and ends with the connection. The last 10,000 transfers are kept.",
        "Um upload é tudo o que uma conexão buscou de um arquivo, e termina com a conexão. As últimas 10.000 transferências são guardadas.",
    ),
    (
        "The most transfers to print, the newest last",
        "O máximo de transferências a mostrar, a mais nova por último",
    ),
    (
        "Print results and errors alone: no notes, no progress",
        "Mostra só resultados e erros: sem notas nem progresso",
    ),
    (
        "End a one-shot command with code 5 when it is not done after so many seconds; repeat the command to resume",
        "Encerra um comando único com código 5 se não terminou após tantos segundos; repita o comando para continuar",
    ),
    (
        "Print the names, peers or users that begin with a word, for the completions of a shell",
        "Mostra os nomes, peers ou usuários que começam com uma palavra, para completar num shell",
    ),
    ("What the word names", "O que a palavra nomeia"),
    ("The begin of the word", "O começo da palavra"),
    (
        "Copy the accounts, the members and the keys into a new folder; the server may be running",
        "Copia as contas, os membros e as chaves para uma pasta nova; o servidor pode estar em execução",
    ),
    (
        "The copy is that of one moment, checked as a whole, and readable for this user alone. It has the secret key of the server: keep it as safe as the server.",
        "A cópia é a de um instante, conferida inteira, e só este usuário pode lê-la. Ela tem a chave secreta do servidor: guarde-a tão bem quanto o servidor.",
    ),
    (
        "Restore such a copy into a folder without accounts; the server must be stopped",
        "Restaura uma cópia dessas numa pasta sem contas; o servidor precisa estar parado",
    ),
    (
        "An existing store is never replaced: move its folder away first.",
        "Contas existentes nunca são substituídas: mova a pasta delas antes.",
    ),
    ("The folder of the copy", "A pasta da cópia"),
    (
        "The folder of unfinished downloads, on the same file system [default: the folder of the downloads]",
        "A pasta dos downloads incompletos, no mesmo sistema de arquivos [padrão: a pasta dos downloads]",
    ),
    (
        "Refuse a download that would leave less room on the disk, such as 10GiB",
        "Recusa um download que deixaria menos espaço livre no disco, como 10GiB",
    ),
    (
        "Other limits at some hours of each day, in local time, such as '08:00-18:00 upload=1MB download=none'; repeat for more. The first that holds decides",
        "Outros limites em certas horas de cada dia, na hora local, como '08:00-18:00 upload=1MB download=none'; pode repetir. O primeiro que vale decide",
    ),
    (
        "Let the running servers and peers of this user read their settings again",
        "Faz os servidores e peers em execução deste usuário lerem a configuração de novo",
    ),
    ("the process of this number alone", "só o processo deste número"),
    ("the same without an answer", "o mesmo sem resposta"),
    (
        "A line for each changed setting says whether it holds from now on or needs a restart. No transfer ends. With a broken file the earlier settings stay, and the exit code is 2. The log file is opened again. A process with a terminal as stdin ends at SIGHUP, and takes no part.",
        "Uma linha por configuração mudada diz se ela já vale ou se exige um reinício. Nenhuma transferência acaba. Com um arquivo inválido a configuração anterior fica, e o código de saída é 2. O arquivo de log é reaberto. Um processo com um terminal como stdin acaba com SIGHUP, e não participa.",
    ),
    (
        "The numbers of the processes [default: all of this user]",
        "Os números dos processos [padrão: todos deste usuário]",
    ),
    (
        "Append the log and the notes to this file instead of stderr, with time stamps. SIGHUP and `cardume reload` open the file again",
        "Acrescenta o log e as notas a este arquivo em vez de stderr, com a hora. SIGHUP e `cardume reload` reabrem o arquivo",
    ),
    (
        "The form of the log: lines with time, level and module, or a JSON object per line",
        "A forma do log: linhas com hora, nível e módulo, ou um objeto JSON por linha",
    ),
    (
        "Print all names in the line about the files of a peer [default: the first hundred, and how many more there are]",
        "Imprime todos os nomes na linha sobre os arquivos de um peer [padrão: os cem primeiros, e quantos mais são]",
    ),
    (
        "The least level of the logged lines [default: RUST_LOG, else warn]",
        "O nível mínimo das linhas do log [padrão: RUST_LOG, senão warn]",
    ),
    (
        "Run this program after each complete download, without a shell: the facts are JSON on stdin and the variables CARDUME_HOOK_*",
        "Executa este programa após cada download completo, sem shell: os dados vão em JSON por stdin e nas variáveis CARDUME_HOOK_*",
    ),
    (
        "Run this program after each upload, when the connection ends",
        "Executa este programa após cada upload, quando a conexão acaba",
    ),
    ("Kill such a program after so many seconds", "Mata um programa desses após tantos segundos"),
    (
        "The settings file; `none` reads no file [default: ~/.config/cardume/cardume.toml, else /etc/cardume/cardume.toml]",
        "O arquivo de configuração; `none` não lê arquivo [padrão: ~/.config/cardume/cardume.toml, senão /etc/cardume/cardume.toml]",
    ),
    (
        "Check or print the settings of the file, the environment and the command line",
        "Confere ou mostra a configuração do arquivo, do ambiente e da linha de comando",
    ),
    (
        "the settings of server and peer, with their places",
        "a configuração de server e peer, com as origens",
    ),
    (
        "Each flag of each command is a key in the section of the command, and a variable:",
        "Cada opção de cada comando é uma chave na seção do comando, e uma variável:",
    ),
    ("as --listen, or CARDUME_LISTEN", "como --listen, ou CARDUME_LISTEN"),
    ("for all commands with this flag", "para todos os comandos com esta opção"),
    (
        "A flag beats a variable, a variable the file, and the file the default. Exit code 2 for an unknown key or a wrong value, with the line.",
        "Uma opção vale mais que uma variável, a variável mais que o arquivo, e o arquivo mais que o padrão. Código de saída 2 para uma chave desconhecida ou um valor errado, com a linha.",
    ),
    (
        "Check the file alone, and print nothing but errors and its name",
        "Só confere o arquivo, e mostra apenas erros e o nome dele",
    ),
    (
        "Print the settings as a settings file, as by default",
        "Mostra a configuração como um arquivo de configuração, como por padrão",
    ),
    (
        "The commands whose settings to print [default: server and peer]",
        "Os comandos cuja configuração é mostrada [padrão: server e peer]",
    ),
    (
        "Make a secret URL by which curl or a player fetches one file from your running peer",
        "Cria uma URL secreta com que o curl ou um player baixa um arquivo do seu peer em execução",
    ),
    ("List the live links of your running peer", "Lista os links válidos do seu peer em execução"),
    ("End a link, and the downloads by it", "Encerra um link, e os downloads feitos por ele"),
    (
        "The running peer [default: found at the index server, by your key]",
        "O peer em execução [padrão: o que o índice conhece, pela sua chave]",
    ),
    (
        "The file, by the name under which you share it, or b3:ROOT",
        "O arquivo, pelo nome com que você o compartilha, ou b3:ROOT",
    ),
    (
        "The time until the link expires: 90s, 15m, 24h or 30d",
        "O tempo até o link vencer: 90s, 15m, 24h ou 30d",
    ),
    (
        "The host of the URL, or host and port, where the index server sees another address; a host name needs --host-name at the peer",
        "A máquina da URL, ou máquina e porta, se o índice vê outro endereço; um nome precisa de --host-name no peer",
    ),
    (
        "The number of the link, as `cardume links` shows it",
        "O número do link, como `cardume links` mostra",
    ),
    (
        "The URL alone is on stdout, and a curl command that checks the key of the peer on stderr. All links end with the peer. A link needs no consent of --accept.",
        "A saída padrão tem só a URL; stderr tem um comando curl que confere a chave do peer. Todos os links acabam com o peer. Um link dispensa o consentimento de --accept.",
    ),
    ("number, time left, fetches, file", "número, tempo restante, downloads, arquivo"),
    (
        "Share giant files peer to peer: a small index lists the providers, and peers send the bytes",
        "Um Napster para arquivos gigantes: um índice pequeno sabe quem tem o quê, e os peers entregam",
    ),
    (
        "Run the index server: the index lists the providers of each file, and stores no content",
        "Executa o índice: ele sabe quem tem cada arquivo, e não guarda nenhum byte deles",
    ),
    ("Share a folder, search and download", "Compartilha uma pasta, busca e baixa arquivos"),
    ("Find the providers of a file", "Diz quem tem um arquivo"),
    (
        "Download a file; repeat the command to resume",
        "Baixa um arquivo; execute de novo para continuar",
    ),
    (
        "Play a video or audio file during the download; the finished file is kept",
        "Toca um vídeo ou áudio enquanto ele chega; o arquivo fica guardado",
    ),
    ("List the connected peers", "Lista os peers presentes"),
    ("List the shared files of a peer", "Lista o que um peer compartilha"),
    (
        "Register a user name; only the key created at the first use can use the name",
        "Registra um nome de usuário; só a chave criada no primeiro uso pode usá-lo",
    ),
    (
        "Release a user name, and delete all publications under the name",
        "Devolve um nome de usuário, com tudo o que foi publicado nele",
    ),
    (
        "Publish a file under a user name; the publication stays while the user is offline",
        "Publica um arquivo em nome de um usuário: vale também na ausência dele",
    ),
    (
        "Close all connections of a member, user or address; it may come back",
        "Fecha todas as conexões de um membro, usuário ou endereço, que pode voltar",
    ),
    (
        "Ban a member, a key, an address or a range, and close its connections",
        "Bane um membro, uma chave, um endereço ou uma faixa, e fecha as conexões",
    ),
    ("Lift a ban", "Retira um banimento"),
    ("List the bans", "Lista os banimentos"),
    (
        "Show or set the limits of a running server",
        "Mostra ou muda os limites de um servidor em execução",
    ),
    ("any user, as an administrator", "qualquer usuário, como administrador"),
    ("as an administrator", "como administrador"),
    ("that connection alone", "só aquela conexão"),
    (
        "Exit code 3 if there is no such connection. Downloads from other peers continue: they need no server.",
        "Código de saída 3 se não há tal conexão. Os downloads de outros peers continuam: não precisam do servidor.",
    ),
    (
        "A banned address is cut off before its first byte, on every port of the server. A banned member reads the reason and the time left, and the other peers stop serving it within a second. The time counts while the server runs.",
        "Um endereço banido é cortado antes do primeiro byte, em todas as portas do servidor. Um membro banido lê o motivo e o tempo que falta, e os outros peers deixam de servi-lo em um segundo. O tempo conta enquanto o servidor está em execução.",
    ),
    (
        "subject, name, time left, since, by, reason",
        "objeto, nome, tempo que falta, desde quando, por quem, motivo",
    ),
    ("limit, value, default, range, unit", "limite, valor, padrão, faixa, unidade"),
    ("resets the limit", "volta ao padrão"),
    (
        "A new limit holds at once, and after a restart. What is in use already stays.",
        "Um limite novo vale logo, e depois de um reinício. O que já está em uso fica.",
    ),
    (
        "The member or user, the key, or the address of the client",
        "O membro ou usuário, a chave, ou o endereço do cliente",
    ),
    (
        "The member or user, the key, the address, or the range of addresses",
        "O membro ou usuário, a chave, o endereço, ou a faixa de endereços",
    ),
    (
        "The time until the ban ends: 90s, 15m, 24h or 30d [default: no end]",
        "O tempo até o fim do banimento: 90s, 15m, 24h ou 30d [padrão: sem fim]",
    ),
    (
        "The reason, on a single line; the banned client reads it",
        "O motivo, em uma só linha; o cliente banido o lê",
    ),
    (
        "Ban your own key or address, or loopback",
        "Bane a sua própria chave ou endereço, ou o loopback",
    ),
    (
        "The name, the key, the address or the range, as `cardume bans` shows it",
        "O nome, a chave, o endereço ou a faixa, como `cardume bans` mostra",
    ),
    ("The limits to set; `default` resets one", "Os limites a mudar; `default` volta ao padrão"),
    (
        "Act as an administrator of the server, for any user",
        "Age como administrador do servidor, por qualquer usuário",
    ),
    ("Delete a publication", "Retira o que foi publicado"),
    (
        "Report matching files as providers come and go, until Ctrl-C",
        "Mostra o que chega e o que sai, até Ctrl-C",
    ),
    (
        "Open a server to the browser on this machine, as the member that you are: search, play and download at a secret address",
        "Abre um servidor ao navegador desta máquina, como o membro que você é: busque, reproduza e baixe em um endereço secreto",
    ),
    (
        "The port of the page on 127.0.0.1 [default: a free port]",
        "A porta da página em 127.0.0.1 [padrão: uma porta livre]",
    ),
    ("prints a URL for the browser", "mostra uma URL para o navegador"),
    (
        "Anyone with the URL acts as you while the command runs, so the URL is a secret; the next run has another one. The browser stays on this machine: everything beyond is encrypted, and the keys of the server and of the peers are checked.",
        "Quem tem a URL age como você enquanto o comando roda, por isso a URL é secreta; a próxima execução terá outra. O navegador fica nesta máquina: tudo além dela é cifrado, e as chaves do servidor e dos peers são conferidas.",
    ),
    (
        "Show the metrics of an index server or a peer",
        "Mostra em números como está um servidor de índice ou um peer",
    ),
    ("List the connected users", "Lista os usuários presentes"),
    ("List the publications of a user", "Lista o que um usuário publicou"),
    (
        "Print the BLAKE3 roots of files, as b3sum does",
        "Mostra as raízes BLAKE3 de arquivos, como o b3sum",
    ),
    (
        "Check files against the index, as b3sum --check does against a list",
        "Confere arquivos com o índice, como b3sum --check com uma lista",
    ),
    (
        "Print the operations of the users of an index, a line each, as reported by a server with --rpc-log",
        "Mostra o que os usuários de um índice fazem, uma linha por operação, como informa um servidor com --rpc-log",
    ),
    (
        "Measure a server, or a Redis, under the load of many peers: response rates and latencies",
        "Põe carga em um servidor ou em um Redis: muitos peers em um processo, taxas e tempos de resposta",
    ),
    ("Print the completions of a shell", "Mostra o script de autocompletar de um shell"),
    ("Print a man page", "Mostra uma página de manual"),
    (
        "Export the server's accounts to a folder of CSV files; the server may be running",
        "Grava as contas do servidor em uma pasta, como arquivos CSV; ele pode estar em execução",
    ),
    (
        "Import accounts from such a folder into the server's; the server must be stopped",
        "Soma às contas do servidor as de uma dessas pastas; ele não pode estar em execução",
    ),
    (
        "Language of help, prompts and errors; fixed lines of the specification stay Portuguese [default: from LC_ALL, LC_MESSAGES or LANG, else pt]",
        "Idioma da ajuda, das perguntas e dos erros; as linhas fixas da especificação ficam em português [padrão: o de LC_ALL, LC_MESSAGES ou LANG, senão pt]",
    ),
    ("Print a JSON object per line", "Mostra um objeto JSON por linha"),
    (
        "The file with the secret key, created at the first use [default: cardume/key below the user's state folder]",
        "O arquivo da chave secreta, criado quando for preciso pela primeira vez [padrão: cardume/key na pasta de estado do usuário]",
    ),
    ("The user name", "Qual nome"),
    ("The name of the file", "O nome do arquivo"),
    ("The description, on a single line", "A descrição, em uma linha"),
    (
        "Publish under this user name; a new name is registered first",
        "Em nome de qual usuário; ele é registrado se for preciso",
    ),
    ("The user that published the file", "O usuário que publicou o arquivo"),
    ("The user that published the files", "De qual usuário"),
    ("The shell", "Qual shell"),
    (
        "The command; without a command, the page of the program",
        "De qual comando; sem ele, do programa",
    ),
    (
        "A file with an invite: the first start joins its server, and later starts ignore the invite",
        "Um arquivo com um convite: a primeira vez entra no servidor dele, e as seguintes o ignoram",
    ),
    (
        "Listen for other peers on this address; port 0 selects a free port [default: 0.0.0.0:4000, or a free port if that one is busy]",
        "Onde atender os outros; a porta 0 escolhe uma livre [padrão: 0.0.0.0:4000, ou uma porta livre se essa estiver ocupada]",
    ),
    (
        "The folder to share; downloads go there as well",
        "A pasta a compartilhar, que também recebe os downloads",
    ),
    (
        "A list of further files to share, a `name path` per line, with any path. A line [GROUP] is for the lines below, as --for-group. Without --folder, nothing else is shared, and downloads go to the current folder",
        "Um arquivo com mais itens a compartilhar, um `nome caminho` por linha, de qualquer lugar; uma linha [GRUPO] vale para as linhas abaixo, como --for-group; sem --folder, nada mais é compartilhado e os downloads vão para a pasta atual",
    ),
    (
        "Show the shared files only to these groups of members, such as turma-a,turma-b; repeat for more. `all` is every member, as by default; `public` also shows the files to clients of legacy protocols",
        "Mostra os arquivos compartilhados só a estes grupos de membros, como turma-a,turma-b; repita para mais. `all` são todos os membros, como é o padrão; `public` mostra os arquivos também a clientes de protocolos antigos",
    ),
    (
        "The commands and responses of the console: napster, rede, music, or uc3m with an edition, by default fixed. A music console plays each requested file, and opens a UDP port of music-udp. In a uc3m console, CONNECT names the user, opens the port and shares the folder (by default the current folder). The console also opens a port of the edition, on the IP of --listen or 127.0.0.1, so that clients of UC3M find the user",
        "De qual sistema são os comandos e as respostas do console: napster, rede, music, ou uc3m em uma de suas edições, das quais fixed é o padrão. Um console music reproduz cada arquivo pedido, e abre uma porta UDP do music-udp. Em um console uc3m, CONNECT diz quem você é, abre a porta e compartilha a pasta (a atual, se nenhuma for dada). O console abre também uma porta da edição, no IP de --listen ou em 127.0.0.1, para que os clientes do UC3M achem o usuário",
    ),
    (
        "Share subfolders as well, under names such as Sub/aula1.mp4",
        "Compartilha também as subpastas, com nomes como Sub/aula1.mp4",
    ),
    (
        "Do not share files that match this pattern, as in .gitignore: '*.iso', '/drafts' or 'tmp/'; repeat for more. The patterns follow the lines of the file .cardumeignore at the top of the folder. The last match decides ('!' shares the file)",
        "Não compartilha o que tem este nome: um padrão como em um .gitignore, por exemplo '*.iso', '/drafts' ou 'tmp/'; repita para dar mais. Eles vêm depois dos do arquivo .cardumeignore no topo da pasta, e o último que casa decide ('!' compartilha mesmo assim)",
    ),
    (
        "The user of this peer; a new name is registered first",
        "O usuário dono deste peer; o nome é registrado se for preciso",
    ),
    ("Whether other peers may download", "Se os outros podem baixar"),
    ("Allow every download", "Todos podem"),
    (
        "Prompt for consent, once per requester and file",
        "Você é consultado, uma vez para cada peer e arquivo",
    ),
    ("Refuse every download", "Ninguém pode"),
    (
        "The address at which other peers reach this peer, if different from the address seen by the server",
        "O endereço em que os outros acham este peer, se não for o que o servidor vê",
    ),
    (
        "Bytes sent per second, over all uploads",
        "Bytes por segundo que saem, na soma de todos os uploads",
    ),
    (
        "Bytes received per second, over all downloads",
        "Bytes por segundo que entram, na soma de todos os downloads",
    ),
    (
        "Parallel uploads; further requesters wait in a queue, and receive their position",
        "Uploads ao mesmo tempo; os demais esperam, e sabem o seu lugar na fila",
    ),
    (
        "Bytes that one requester may ask of this peer in a day, such as 50GiB",
        "Bytes que cada um pode pedir a este peer em um dia, como 50GiB",
    ),
    (
        "Which hosts may read the metrics, by `cardume status` and at /metrics",
        "Quem pode ver os números do processo, por `cardume status` e em /metrics",
    ),
    ("Programs on this machine", "Programas desta máquina"),
    ("Programs on any machine", "Todos"),
    (
        "A host name to accept in HTTP requests, such as the name of a proxy; repeat for more. Addresses, localhost and the names of this machine are always accepted. All other names are refused",
        "Um nome com o qual navegadores e outros programas podem acessar por HTTP, como o de um proxy; repita para dar mais. Endereços, localhost e os nomes desta máquina sempre valem, e todos os outros são recusados",
    ),
    (
        "Whether to allocate the disk space of a download",
        "Reserva espaço em disco para um download, ou não",
    ),
    (
        "Allocate all space, in steps: a full disk fails the download at the start",
        "Todo o espaço, em passos: um disco cheio aparece já no início",
    ),
    ("A sparse file", "Um arquivo esparso"),
    (
        "The folder of the hash cache, so that a restart hashes no file again [default: cardume below the user's cache folder]",
        "Onde ficam os hashes dos arquivos, para que nada seja calculado de novo ao reiniciar [padrão: cardume na pasta de cache do usuário]",
    ),
    (
        "Keep hashes in memory only, even with --cache",
        "Mantém os hashes só na memória, mesmo que um cache seja indicado",
    ),
    (
        "Listen for QUIC over UDP as well, on this port; without an IP, on the IP of --listen",
        "Atende também por QUIC sobre UDP, nesta porta; sem endereço, vale o de --listen",
    ),
    (
        "Serve UC3M's GET_FILE on this port, in this edition: 2020, 2020-int, 2024, 2024-plain, 2025 or fixed (the default); repeat for more",
        "Atende o GET_FILE do UC3M nesta porta, nesta edição: 2020, 2020-int, 2024, 2024-plain, 2025 ou fixed, que é o padrão; repita para dar mais",
    ),
    ("Serve files to rede-p2p clients on this port", "Atende o protocolo do rede-p2p nesta porta"),
    (
        "Serve files to ufabc-json clients on the usual port",
        "Atende o JSON do ufabc-json na porta normal",
    ),
    (
        "Exit with code 5 if the server is unreachable, instead of retrying",
        "Termina com o código 5 quando não há servidor, em vez de tentar de novo",
    ),
    ("The files; `-` is stdin", "Quais arquivos; `-` é a entrada padrão"),
    ("The files, or folders with files", "Quais arquivos, ou pastas deles"),
    (
        "The expected root of a single file, checked instead of the index: 64 hex digits, as printed by `cardume hash` and `b3sum`",
        "A raiz que o único arquivo deve ter, diga o índice o que disser: 64 dígitos hexadecimais, como os de `cardume hash` e `b3sum`",
    ),
    (
        "Check the files of subfolders as well, under names such as Sub/aula1.mp4",
        "Confere também os arquivos das subpastas, com nomes como Sub/aula1.mp4",
    ),
    (
        "Exact names with the extension; NAME/ for a folder; or b3:ROOT for this content under any name",
        "Os nomes exatos, com a extensão; NAME/ para uma pasta; ou b3:ROOT, seja qual for o nome",
    ),
    (
        "A file with one name a line, downloaded after the names given here; `-` is stdin",
        "Um arquivo com um nome por linha, baixados depois dos nomes dados aqui; `-` é a entrada padrão",
    ),
    ("Files downloaded at the same time", "Quantos arquivos baixar ao mesmo tempo"),
    (
        "The exact name with the extension; or b3:ROOT for this content under any name",
        "O nome exato, com a extensão; ou b3:ROOT, seja qual for o nome",
    ),
    (
        "The expected root of the content: 64 hex digits, as printed by `cardume hash` and `b3sum`",
        "A raiz que o conteúdo deve ter: 64 dígitos hexadecimais, como os de `cardume hash` e `b3sum`",
    ),
    (
        "Download from this peer, without the index server. For a legacy protocol use rede@IP:PORT, ufabc-json@… or uc3m-2024@…",
        "Deste peer, sem consultar o servidor; um que fala um protocolo antigo é como rede@IP:PORT, ufabc-json@… ou uc3m-2024@…",
    ),
    ("The destination folder", "Para esta pasta"),
    ("The destination file; `-` is stdout", "Para este arquivo; `-` é a saída padrão"),
    (
        "Download the head and the tail first, then the rest in order",
        "Busca primeiro o início e o fim, depois tudo em ordem",
    ),
    (
        "Accept the bytes of a single source without verification",
        "Aceita os bytes de uma origem como vêm, sem conferir",
    ),
    (
        "Wait for a file without a provider, and for an unreachable source",
        "Espera por um arquivo que ninguém tem ainda, e por uma origem ausente",
    ),
    ("Bytes received per second", "Bytes por segundo que entram"),
    (
        "The transport of the download: TCP, or QUIC over UDP from peers with --udp, with TCP as the fallback",
        "O transporte dos bytes: TCP, ou QUIC sobre UDP com peers que o atendem (--udp), e TCP onde o QUIC não passa",
    ),
    ("TCP", "TCP"),
    ("QUIC over UDP", "QUIC sobre UDP"),
    (
        "The local UDP port of QUIC [default: a free port]",
        "A porta UDP de onde o QUIC pede [padrão: uma livre]",
    ),
    ("The peer", "Qual peer"),
    (
        "List the files of a folder that a peer would not share, and why; no peer is contacted",
        "Diz o que um peer não compartilharia de uma pasta, e por quê; ninguém é consultado",
    ),
    ("The folder for --skipped", "Desta pasta, com --skipped"),
    ("Include subfolders", "E das subpastas dela"),
    ("Exclude files, as in cardume peer", "Como no comando peer"),
    (
        "The media player [default: the first installed of these, else none]",
        "O programa que toca [padrão: o primeiro destes que está instalado, senão none]",
    ),
    ("mpv", "mpv"),
    ("VLC", "VLC"),
    (
        "No player: print the URL, and serve the file until interrupted",
        "Nenhum: mostra a URL e a atende até ser interrompido",
    ),
    ("The folder of the finished file", "Para onde vai o arquivo pronto"),
    (
        "Words of the name or the description, in any order; \"a phrase\" in quotes; `-word` excludes a word",
        "Palavras que o nome ou a descrição contém, em qualquer ordem; \"uma frase\" entre aspas; `-palavra`: sem esta",
    ),
    (
        "Words of the name or the description, with typing errors; the best matches come first",
        "Palavras que o nome ou a descrição quase contém, com erros de digitação; os melhores vêm primeiro",
    ),
    (
        "Only names with these extensions, without the dot",
        "Só nomes com estas extensões, sem o ponto",
    ),
    (
        "Only files of this size in bytes: 700M..4G, 700M.., ..4G",
        "Só arquivos deste tamanho em bytes: 700M..4G, 700M.., ..4G",
    ),
    (
        "Only files with these words in the description, in any order",
        "Só arquivos com estas palavras na descrição, em qualquer ordem",
    ),
    ("Only files of this user", "Só arquivos deste usuário"),
    ("Only files with a known content hash", "Só arquivos de conteúdo conhecido"),
    ("Only complete files", "Só arquivos completos"),
    (
        "The order: name, -name, size or -size (the largest first)",
        "Nesta ordem: name, -name, size ou -size, que é o maior primeiro",
    ),
    (
        "The most results [default: 1000; an exact name alone: 4096]",
        "No máximo tantos [padrão: 1000; só com um nome exato: 4096]",
    ),
    (
        "Listen on this address; repeat for more [default: 127.0.0.1:1099; on a terminal, a prompt]",
        "Onde escutar; repita para dar mais [padrão: 127.0.0.1:1099; em um terminal, o programa pergunta]",
    ),
    (
        "The folder of accounts and publications, for all addresses; `none`: in memory only [default: cardume/server below the user's state folder; for port 0, none]",
        "Onde ficam as contas e as publicações, sejam quais forem os endereços; `none`: só na memória [padrão: cardume/server na pasta de estado do usuário; para a porta 0, none]",
    ),
    ("Whether peers may join without an account", "Se os peers podem entrar sem uma conta"),
    ("Peers may join without an account", "Podem"),
    ("Every peer needs an account", "Não podem"),
    (
        "Serve the UC3M protocol on this port, in this edition: 2020, 2020-int, 2024, 2024-plain, 2025 or fixed (the default); repeat for more",
        "Fala UC3M nesta porta, nesta edição: 2020, 2020-int, 2024, 2024-plain, 2025 ou fixed, que é o padrão; repita para dar mais",
    ),
    ("Serve the rede-p2p protocol on this port", "Fala o protocolo do rede-p2p nesta porta"),
    ("Serve the index of music-udp on this port", "Serve o índice do music-udp nesta porta"),
    (
        "Serve programs of napster-ufabc on the usual ports",
        "Atende programas do napster-ufabc nas portas normais",
    ),
    (
        "Serve files to programs of music-udp on this UDP port; the index lists the port a thousand below. Other machines are answered only where the server lists a peer at their address",
        "Envia arquivos a programas do music-udp nesta porta UDP; o índice mostra a porta mil abaixo. Outras máquinas só recebem resposta se o servidor mostrar um peer no endereço delas",
    ),
    (
        "Serve files to programs of napster-ufabc on the usual port",
        "Envia arquivos a programas do napster-ufabc na porta normal",
    ),
    (
        "Serve the ufabc-json protocol on the usual ports",
        "Aceita o JSON do ufabc-json nas portas normais",
    ),
    (
        "Serve the ufabc-json protocol, and list the folders that peers name, below this folder",
        "Aceita o JSON do ufabc-json, e lista as pastas que os peers dele indicam, abaixo desta",
    ),
    (
        "Serve UC3M's date service on this port, besides the usual ports; repeat for more",
        "Atende o serviço de data do UC3M também nesta porta; as portas normais já o fazem; repita para dar mais",
    ),
    (
        "The heartbeat interval in seconds; a peer that is silent for 2.5 intervals is removed",
        "De quantos em quantos segundos cada peer deve dar sinal; um que se cala por 2,5 vezes esse tempo sai",
    ),
    (
        "The memory limit of the index: 512MiB, 2GiB; further files are refused [default: half the memory of this machine or container]",
        "Quanta memória o índice pode usar: 512MiB, 2GiB; arquivos além disso são recusados [padrão: metade da que esta máquina ou o seu contêiner tem]",
    ),
    (
        "Addresses that peers may advertise besides their own; repeat for more",
        "Endereços que os peers podem anunciar além do próprio; repita para dar mais",
    ),
    (
        "Share one index with other servers, in this Redis or Valkey cluster; needs --open",
        "Compartilha um índice com outros servidores, neste cluster Redis ou Valkey; requer --open",
    ),
    (
        "A file with the URL of --index, so that a password is not on a command line",
        "Um arquivo com a URL de --index, para que a senha não fique na linha de comando",
    ),
    (
        "The certificates of the authorities that sign the nodes' certificates, in PEM, for rediss://HOST:PORT [default: those of the system]",
        "Os certificados das autoridades que assinam os dos nós, em PEM, para rediss://HOST:PORTA [padrão: os do sistema]",
    ),
    (
        "Keep the accounts of --index on another engine",
        "Guarda as contas de --index em outro motor",
    ),
    ("A file with the URL of --accounts-engine", "Um arquivo com a URL de --accounts-engine"),
    (
        "The start of all keys in the engine; servers of one index have the same",
        "O começo de todas as chaves no motor; os servidores de um índice têm o mesmo",
    ),
    (
        "Report every user operation to this log server; without a port, rpcbind there gives the port",
        "Informa a este servidor de log cada operação de um usuário; sem porta, ela é perguntada ao rpcbind de lá",
    ),
    (
        "Listen on this address; port 0 selects a free port",
        "Onde escutar; a porta 0 escolhe uma livre",
    ),
    (
        "Print the URL of the server with its public key, for --server; connections by this URL are encrypted",
        "Mostra a URL do servidor com a chave pública, para --server; as conexões por essa URL são cifradas",
    ),
    ("The URL is no secret.", "A URL não é segredo."),
    (
        "The addresses of the server, as clients reach it",
        "Os endereços do servidor, como os clientes o alcançam",
    ),
    ("The folder of CSV files", "A pasta dos arquivos CSV"),
    (
        "The server's account folder [default: cardume/server below the user's state folder]",
        "Onde o servidor guarda as contas [padrão: cardume/server na pasta de estado do usuário]",
    ),
    (
        "The listen address of an earlier server version, which named the data folder after this address",
        "Onde escutava um servidor de uma versão anterior, que dava nome à pasta dele",
    ),
    (
        "Query this peer instead of the index server",
        "Consulta este peer em lugar do servidor de índice",
    ),
    ("Show the memory of the index, by part", "O que o índice usa, por parte"),
    (
        "Words of the file name, in any case and with or without accents; -word excludes a word; or b3:ROOT",
        "Palavras que os nomes contêm, sem distinguir maiúsculas nem acentos, e -palavras que não contêm; ou b3:ROOT",
    ),
    (
        "Match this exact name instead of words",
        "O arquivo com exatamente este nome, em vez de palavras",
    ),
    (
        "The index server under load; a URL with its key, as `cardume server url` prints: by TLS",
        "O servidor de índice que recebe a carga; com a URL de `cardume server url`, que tem a chave: por TLS",
    ),
    (
        "Connect lost peers again, all at once, and print a line when all have joined",
        "Conecta de novo os peers perdidos, todos ao mesmo tempo, e escreve uma linha quando todos entraram",
    ),
    (
        "Load a Redis instead of the server, with SMEMBERS requests",
        "Um Redis recebe a carga em lugar dele, consultado por SMEMBERS",
    ),
    ("The number of peers, each with a connection", "Quantos peers, cada um com a sua conexão"),
    ("Parallel requests per peer", "Quantos pedidos de cada peer estão em curso ao mesmo tempo"),
    (
        "Seconds of measurement [default: 10; with --idle, until Ctrl-C]",
        "Por quantos segundos se mede [padrão: 10; com --idle, até Ctrl-C]",
    ),
    (
        "The relative frequencies of search, join, update and leave",
        "Com que frequência se pede cada operação: search, join, update e leave",
    ),
    (
        "The number of names [default: enough for 5 providers each]",
        "Quantos nomes há [padrão: o que dá 5 donos a cada um]",
    ),
    (
        "The exponent of Zipf's law for the popularity of names; 0: all names alike",
        "O expoente da lei de Zipf, pela qual poucos nomes são muito pedidos; 0: todos iguais",
    ),
    (
        "Files per peer; with 0, no peer joins [default: 100; with --fill, as many as needed]",
        "Arquivos de cada peer; com 0, ninguém entra [padrão: 100; com --fill, os necessários]",
    ),
    (
        "Providers per name; every response is checked for this number [default with --fill: 5]",
        "Quantos donos cada nome tem, o que se confere em cada resposta [padrão com --fill: 5]",
    ),
    (
        "Announce the providers of every name before the measurement",
        "Dá a cada nome os seus donos antes de medir",
    ),
    ("Join, print a line, and stay idle", "Entra, avisa, e fica em silêncio"),
    (
        "Additional peers per second that join and leave a second later",
        "Visitantes a mais, que chegam a cada segundo e saem um segundo depois",
    ),
    ("Announce a root for each file as well", "Informa também uma raiz para cada arquivo"),
    ("The seed of the random numbers", "A semente dos números aleatórios"),
    (
        "Report the CPU use of the server, from this process on this machine",
        "Mostra quanto processador o servidor usou: o processo dele nesta máquina",
    ),
    ("Example:", "Exemplo:"),
    ("Examples:", "Exemplos:"),
    ("Exit codes:", "Códigos de saída:"),
    ("done (also: the same file is already there)", "feito (também: o mesmo arquivo já está lá)"),
    ("internal error", "falha do próprio programa"),
    ("wrong usage", "uso errado"),
    ("not found", "não encontrado"),
    ("refused", "recusado"),
    ("server or source unreachable", "servidor ou origem sem resposta"),
    ("verification failed", "a verificação falhou"),
    (
        "local disk or address: missing folder, full disk, busy port,",
        "disco ou endereço local: pasta que falta, disco cheio, porta em uso,",
    ),
    (
        "destination holds another file, output that cannot be written",
        "outro arquivo no destino, saída que não pode ser gravada",
    ),
    ("the other side does not speak the protocol", "o outro lado não fala o protocolo"),
    ("interrupted; repeat the command to resume", "interrompido; execute de novo para continuar"),
    (
        "the reader of the output has gone (as in `cardume watch aula | head -1`)",
        "ninguém lê mais a saída (como em `cardume watch aula | head -1`)",
    ),
    ("listens on 127.0.0.1:1099", "escuta em 127.0.0.1:1099"),
    ("for the whole network", "para toda a rede"),
    ("IPv6 and IPv4", "IPv6 e IPv4"),
    (
        "legacy clients as well, from this machine only",
        "aceita também programas antigos, só desta máquina",
    ),
    ("logs joins and departures on stderr", "diz quem chega e quem sai, em stderr"),
    (
        "Legacy protocols have no passwords: any client can act for any of their users. So legacy ports are off by default, and bind to loopback unless an address is given.",
        "Os protocolos antigos não têm senhas: quem os alcança pode agir em nome de qualquer usuário deles. Por isso só são ligados a pedido, e só no loopback, se nenhum endereço for dado.",
    ),
    ("a menu: JOIN, SEARCH, DOWNLOAD", "um menu: JOIN, SEARCH, DOWNLOAD"),
    ("over UDP (QUIC) as well", "também por UDP (QUIC)"),
    ("UC3M's commands, in a folder to share", "comandos do UC3M, na pasta a compartilhar"),
    ("peers, ls, get", "peers, ls, get"),
    ("REGISTRAR, CONSULTAR, REQUISITAR, ENCERRAR", "REGISTRAR, CONSULTAR, REQUISITAR, ENCERRAR"),
    (
        "A shared file is also at http://IP:PORT/files/NAME for curl, browsers and players.",
        "Um arquivo compartilhado também está em http://IP:PORT/files/NAME, para curl, navegadores e players.",
    ),
    (
        "Never shared, under any name: secret keys (of cardume, PEM, OpenSSH, PGP, PuTTY, age), accounts and hashes of cardume, unfinished downloads, hidden files, links. Excluded unless .cardumeignore or --exclude has '!NAME': lost+found/ $RECYCLE.BIN/ 'System Volume Information/' Thumbs.db desktop.ini *.crdownload *.sqlite-shm `cardume ls --skipped --folder DIR` lists the files that are not shared, and why.",
        "Nunca é compartilhado, seja qual for o nome: chaves secretas (do cardume, PEM, OpenSSH, PGP, PuTTY, age), contas e hashes do cardume, downloads em curso, arquivos ocultos, links. Fica de fora, se .cardumeignore ou --exclude não disser '!NAME':\nlost+found/ $RECYCLE.BIN/ 'System Volume Information/' Thumbs.db desktop.ini *.crdownload *.sqlite-shm\n`cardume ls --skipped --folder DIR` lista o que não é compartilhado, e por quê.",
    ),
    (
        "in names and descriptions; case and accents do not matter",
        "em nomes e descrições, com ou sem maiúsculas e acentos",
    ),
    (
        "with typing errors; the best matches come first",
        "com erros de digitação; os melhores primeiro",
    ),
    ("without a server", "não consulta servidor"),
    ("a legacy peer, without verification", "um programa antigo, cujos bytes nada comprova"),
    ("only with this content", "só se este for o conteúdo"),
    (
        "a folder with its subfolders; only missing files",
        "uma pasta com suas subpastas; só os arquivos que faltam",
    ),
    (
        "Compare a single folder with the list of this folder at its peers: NAME/",
        "Compara uma única pasta com a lista desta pasta nos seus peers: NAME/",
    ),
    (
        "With --as, take the list from this peer, without the index server",
        "Com --as, pede a lista a este peer, sem o servidor de índice",
    ),
    (
        "With --as, the files are compared with the list of the folder. missing: the list has a file that is not here, which counts as failed. unknown: a file here that the list lacks.",
        "Com --as, os arquivos são comparados com a lista da pasta. missing: a lista tem um arquivo que não está aqui, e isso conta como falha. unknown: um arquivo daqui que falta na lista.",
    ),
    ("the folder as its peers share it", "a pasta como os seus peers a compartilham"),
    (
        "Download each file with these words in the name or the description, after a preview",
        "Baixa cada arquivo com estas palavras no nome ou na descrição, depois de mostrar a lista",
    ),
    (
        "Download each file with one of these extensions, without the dot, after a preview",
        "Baixa cada arquivo com uma destas extensões, sem o ponto, depois de mostrar a lista",
    ),
    (
        "With --contains or --ext, download without a question",
        "Com --contains ou --ext, baixa sem perguntar",
    ),
    ("shows what it finds, and asks", "mostra o que encontra e pergunta"),
    ("this content, under any name", "este conteúdo, seja qual for o nome"),
    ("saved as ~/Videos/Cursos/aula1.mp4", "vira ~/Videos/Cursos/aula1.mp4"),
    ("over UDP, from peers with --udp", "por UDP, de peers com --udp"),
    ("until a provider appears", "até que alguém o tenha"),
    ("in mpv or VLC", "no mpv ou no VLC"),
    ("prints a URL for any player", "mostra uma URL para qualquer player"),
    (
        "The order of the download follows the player: both ends of the file, the current position, the data ahead, and then the rest. No byte is played before its piece is verified. After the player exits, the download continues to the end.",
        "O que o player quer vem primeiro: as duas pontas do arquivo, o ponto em que ele está, o que vem logo adiante, e depois o resto. Nenhum byte toca antes que a sua peça seja verificada. Quando o player termina, o download segue até o fim.",
    ),
    ("files that a peer would not share, and why", "o que um peer não compartilharia, e por quê"),
    (
        "Each line has + or -, the peer, the size and the name; existing files come first.",
        "Cada linha é + ou -, o peer, o tamanho e o nome; o que já existe vem primeiro.",
    ),
    ("the memory of the index, by part", "o que o índice usa, por parte"),
    ("the same for Prometheus", "o mesmo para o Prometheus"),
    ("for b3sum --check SUMS", "b3sum --check SUMS o lê"),
    ("subfolders as well", "as subpastas também"),
    (
        "Each file is read completely. OK: a peer shares this content under this name. FAILED: under this name, peers share only other contents. unknown: no peer shares the name, or no provider has hashed the file yet. Exit code 6 if any failed, 7 if any could not be read, 3 if any is unknown.",
        "Cada arquivo é lido até o fim. OK: alguém compartilha este conteúdo com este nome; FAILED: com este nome só há outros conteúdos; unknown: ninguém tem o nome, ou ninguém calculou o hash ainda. Código de saída 6 se algum falhou, 7 se algum não pôde ser lido, 3 se algum é desconhecido.",
    ),
    ("listens on 127.0.0.1:6111", "escuta em 127.0.0.1:6111"),
    (
        "ONC RPC over TCP, program 1, version 1. If rpcbind runs on this machine, the port is registered there, and --rpc-log 127.0.0.1 is enough.",
        "ONC RPC sobre TCP, programa 1, versão 1. Se o rpcbind roda nesta máquina, ele é informado da porta, e basta --rpc-log 127.0.0.1.",
    ),
    (
        "users.csv has a user per line, connected.csv user;ip;port;wire, and files/USER.csv file;description.",
        "users.csv tem um usuário por linha, connected.csv tem user;ip;port;wire, e files/USER.csv tem file;description.",
    ),
    (
        "Existing users keep their entries, and receive the new entries. If any line is invalid, nothing is imported.",
        "Usuários que já existem mantêm o que têm, e recebem o que é novo. Se uma linha não pode ser usada, nada é importado.",
    ),
    ("50 peers join and search for 10 s", "50 peers entram e buscam por 10 s"),
    (
        "a million names with 5 providers each, until Ctrl-C",
        "um milhão de nomes com 5 donos cada um, até Ctrl-C",
    ),
    ("the same with a Redis: SADD, then SMEMBERS", "o mesmo com um Redis: SADD, depois SMEMBERS"),
    (
        "idle peers, and 1000 per second that join and leave",
        "peers em silêncio, e 1000 por segundo que entram e saem",
    ),
    (
        "The requests depend on --seed alone. Responses are checked: a number of providers other than --holders gives exit code 6. Load only servers that serve for benchmarks: the command takes their whole capacity.",
        "Os pedidos dependem só de --seed. As respostas são conferidas: tantos donos quantos --holders diz, ou o código de saída é 6. Use só com servidores feitos para isso: o comando toma tudo o que eles dão.",
    ),
    (
        "A file with the invite, so that the invite is not on a command line",
        "Um arquivo com o convite, para que ele não fique na linha de comando",
    ),
    (
        "A group of the member, in place of the earlier groups; repeat for more",
        "Um grupo do membro, no lugar dos anteriores; repita para mais",
    ),
    ("A group of the new member; repeat for more", "Um grupo do novo membro; repita para mais"),
    ("A group of the new members; repeat for more", "Um grupo dos novos membros; repita para mais"),
    (
        "Accept that a server of the same address has a new key",
        "Aceita que um servidor do mesmo endereço tenha uma chave nova",
    ),
    ("Admit a key that waits for admission", "Admite uma chave que espera"),
    ("All members of this invite, and the invite", "Todos os membros deste convite, e o convite"),
    (
        "An address of the server in invites [default: those of --listen]; repeat for more",
        "Um endereço do servidor nos convites [padrão: os de --listen]; repita para mais",
    ),
    (
        "An address of the server in the invite [default: as the server knows them]; repeat for more",
        "Um endereço do servidor no convite [padrão: os que o servidor conhece]; repita para mais",
    ),
    (
        "Become a member of a closed server by an invite",
        "Entra num servidor fechado com um convite",
    ),
    ("Change the role and the groups of a member", "Muda o papel e os grupos de um membro"),
    (
        "Exit code 6 if another program has changed a row.",
        "Código de saída 6 se outro programa mudou uma linha.",
    ),
    (
        "Forget a new member that has not been seen for this time",
        "Esquece um novo membro que não aparece há este tempo",
    ),
    (
        "Give this name to the new member, also if a revoked member had the name",
        "Dá este nome ao novo membro, mesmo que um membro revogado o tenha tido",
    ),
    (
        "Let everyone who reaches the server search, share and fetch without encryption",
        "Deixa que todos os que alcançam o servidor busquem, compartilhem e baixem sem cifra",
    ),
    (
        "List the invites that are still valid, instead of making one",
        "Lista os convites ainda válidos, em vez de criar um",
    ),
    ("List the keys that wait for admission", "Lista as chaves que esperam admissão"),
    ("List the members of a closed server", "Lista os membros de um servidor fechado"),
    (
        "Make an invite to a closed server: a secret that admits its bearer",
        "Cria um convite para um servidor fechado: um segredo que admite quem o tem",
    ),
    (
        "Revoke a member for ever, or all members of an invite",
        "Revoga um membro para sempre, ou todos os membros de um convite",
    ),
    (
        "Serve everyone without encryption, whatever the server is",
        "Serve a todos sem cifra, qualquer que seja o servidor",
    ),
    ("Show a QR code as well", "Mostra também um código QR"),
    (
        "Show new rows as they come, until Ctrl-C",
        "Mostra as linhas novas à medida que chegam, até Ctrl-C",
    ),
    (
        "Show the audit log of a server: admissions, changes and refusals",
        "Mostra o registro de auditoria de um servidor: admissões, mudanças e recusas",
    ),
    (
        "Show the server, and your own name and role there",
        "Mostra o servidor, e o seu nome e papel nele",
    ),
    (
        "The index server, or its URL with a key, as `cardume server url` prints [default: the server joined last, else 127.0.0.1:1099]. Of several, as in A:1099,B:1099, any that answers",
        "O servidor de índice, ou sua URL com a chave, como `cardume server url` mostra [padrão: o último em que entrou, ou 127.0.0.1:1099]. De vários, como A:1099,B:1099, um que responda",
    ),
    (
        "The invite, as `cardume invite` prints it; `-` reads stdin",
        "O convite, como `cardume invite` o mostra; `-` lê de stdin",
    ),
    (
        "The key of the server is checked before anything is sent. Afterwards the server is the default of --server. Repeating the command changes nothing. Without a token in the invite, the command waits until an administrator admits the key.",
        "A chave do servidor é conferida antes de qualquer envio. Depois, o servidor passa a ser o padrão de --server. Repetir o comando não muda nada. Sem senha no convite, o comando espera até que um administrador admita a chave.",
    ),
    ("The member", "O membro"),
    (
        "A certificate for browsers, with its chain, in PEM: its names get it, all others the key of the server. Read again when the files change",
        "Um certificado para navegadores, com sua cadeia, em PEM: os nomes dele o recebem, todos os outros a chave do servidor. Lido de novo quando os arquivos mudam",
    ),
    (
        "The secret key of --tls-cert in PEM: RSA, ECDSA or Ed25519, without a passphrase",
        "A chave secreta de --tls-cert em PEM: RSA, ECDSA ou Ed25519, sem senha",
    ),
    (
        "Print the URL for a browser as well, if the server has a certificate for browsers",
        "Mostra também a URL para um navegador, se o servidor tem um certificado para navegadores",
    ),
    ("The name of the server, for people", "O nome do servidor, para as pessoas"),
    ("The name or the key that waits", "O nome ou a chave que espera"),
    ("The new role: read, share or admin", "O novo papel: read, share ou admin"),
    ("The number of members that the invite admits", "O número de membros que o convite admite"),
    (
        "The number of the invite, as `cardume invite --list` shows it",
        "O número do convite, como `cardume invite --list` o mostra",
    ),
    (
        "The role of the new member: read, share or admin",
        "O papel do novo membro: read, share ou admin",
    ),
    (
        "Announce the next key of the server, which takes over after 30 days; the server may be running",
        "Anuncia a próxima chave do servidor, que passa a valer em 30 dias; o servidor pode estar em execução",
    ),
    (
        "For a stolen key: let the next key take over now, announced or not",
        "Para uma chave roubada: a próxima chave passa a valer agora, anunciada ou não",
    ),
    (
        "Let the announced key take over now; clients that have not learned it must join again",
        "A chave anunciada passa a valer agora; clientes que não a conhecem precisam entrar de novo",
    ),
    (
        "Make an invite for an administrator, as the holder of the data folder; the server must be stopped",
        "Cria um convite para um administrador, por quem tem a pasta de dados; o servidor deve estar parado",
    ),
    (
        "Peers and clients that connect within the 30 days learn the next key and follow. Others must join again with --replace. Existing invites are good until the change; new invites are good before and after.",
        "Peers e clientes que se conectam nos 30 dias aprendem a próxima chave e a seguem. Os outros precisam entrar de novo com --replace. Os convites existentes valem até a troca; os novos valem antes e depois.",
    ),
    (
        "Remove rows of the audit log after so many days; each day counts while the server runs",
        "Remove linhas do registro de auditoria depois de tantos dias; um dia conta enquanto o servidor roda",
    ),
    (
        "The invite admits one administrator within a day. While the server runs, an administrator makes invites by cardume invite.",
        "O convite admite um administrador dentro de um dia. Enquanto o servidor roda, um administrador cria convites com cardume invite.",
    ),
    (
        "The most rows of the audit log; the first rows beyond are removed",
        "O máximo de linhas do registro de auditoria; as primeiras além dele são removidas",
    ),
    (
        "The role of the new members: read, share or admin [default: share; with --as, role and groups of the revoked member]",
        "O papel dos novos membros: read, share ou admin [padrão: share; com --as, papel e grupos do membro revogado]",
    ),
    (
        "The time until the invite expires: 90s, 15m, 24h or 30d",
        "O tempo até o convite vencer: 90s, 15m, 24h ou 30d",
    ),
    (
        "A folder that takes files from visitors of this peer's page; it must exist",
        "Uma pasta que recebe arquivos de visitantes da página deste peer; ela deve existir",
    ),
    (
        "Whether a file of a visitor needs an answer at the console; a yes holds for ten minutes",
        "Se um arquivo de um visitante precisa de uma resposta no console; um sim vale por dez minutos",
    ),
    ("The largest file that the drop folder takes", "O maior arquivo que a pasta recebe"),
    ("All bytes that the drop folder may hold", "Todos os bytes que a pasta pode ter"),
    ("All files that the drop folder may hold", "Todos os arquivos que a pasta pode ter"),
    ("Take files without a question", "Recebe arquivos sem perguntar"),
    ("Prompt for consent", "Pede a aprovação"),
    (
        "Show no pictures of videos on the page. By default ffmpeg makes one, where installed",
        "Não mostrar imagens de vídeos na página. Em geral o ffmpeg faz uma, onde está instalado",
    ),
    (
        "Treat programs of the same user on this machine as strangers",
        "Trata como estranhos os programas do mesmo usuário nesta máquina",
    ),
    (
        "Treat programs of the same user on this machine as strangers; by default they are administrators and need no encryption",
        "Trata como estranhos os programas do mesmo usuário nesta máquina; em geral são administradores, e não precisam de cifra",
    ),
    ("Withdraw an invite; its members stay", "Retira um convite; os membros ficam"),
    (
        "Your name on the server [default: the name of your account on this machine]",
        "O seu nome no servidor [padrão: o da sua conta nesta máquina]",
    ),
    ("keys that wait for admission", "chaves que esperam admissão"),
    ("name, role, groups, key, last seen", "nome, papel, grupos, chave, última vez"),
    ("one person, 24 hours", "uma pessoa, 24 horas"),
    ("the invites that are still valid", "os convites ainda válidos"),
    ("the quotes keep the shell from reading the #", "as aspas impedem o shell de ler o #"),
    ("the server, and your name and role there", "o servidor, e o seu nome e papel nele"),
    ("with this address of the server", "com este endereço do servidor"),
];

/// Texts of clap and its generators; a longer text stands before its own prefix.
const FRAME: &[(&str, &str)] = &[
    ("Usage:", "Uso:"),
    ("Commands:", "Comandos:"),
    ("Arguments:", "Argumentos:"),
    ("Options:", "Opções:"),
    ("[OPTIONS]", "[OPÇÕES]"),
    ("<COMMAND>", "<COMANDO>"),
    ("[COMMAND]", "[COMANDO]"),
    ("[default:", "[padrão:"),
    ("[env:", "[ambiente:"),
    ("[possible values:", "[valores possíveis:"),
    ("Possible values:", "Valores possíveis:"),
    ("Print help (see more with", "Mostra a ajuda (mais com"),
    ("Print help (see a summary with", "Mostra a ajuda (um resumo com"),
    ("Print help", "Mostra a ajuda"),
    ("Print version", "Mostra a versão"),
    (
        "Print this message or the help of the given subcommand(s)",
        "Mostra esta ajuda ou a de um comando",
    ),
    (".SH NAME", ".SH NOME"),
    (".SH SYNOPSIS", ".SH SINOPSE"),
    (".SH DESCRIPTION", ".SH DESCRIÇÃO"),
    (".SH OPTIONS", ".SH OPÇÕES"),
    (".SH SUBCOMMANDS", ".SH COMANDOS"),
    ("<\\fIsubcommands\\fR>", "<\\fIcomando\\fR>"),
    ("[\\fIsubcommands\\fR]", "[\\fIcomando\\fR]"),
    (".SH EXTRA", ".SH MAIS"),
    (".SH VERSION", ".SH VERSÃO"),
    ("May also be specified with the", "Vale também a variável"),
    ("environment variable.", "do ambiente."),
];

/// Messages of one line; the more special prefix stands first.
const MESSAGES: &[(&str, &str)] = &[
    ("the running peer does not answer in time", "o peer em execução não responde a tempo"),
    ("no poster of {}: {}", "sem imagem de capa de {}: {}"),
    ("the drop folder: {}", "a pasta de entrega: {}"),
    ("a poster is not kept: {}", "uma imagem de capa não foi guardada: {}"),
    ("no posters: {}", "sem imagens de capa: {}"),
    ("no earlier posters: {}", "sem imagens de capa anteriores: {}"),
    (
        "a program of user {} may not use the control socket",
        "um programa do usuário {} não pode usar o socket de controle",
    ),
    (
        "file {} of the state folder can't be read: {}",
        "o arquivo {} da pasta de estado não pode ser lido: {}",
    ),
    (
        "file {} of the state folder can't be written: {}",
        "o arquivo {} da pasta de estado não pode ser escrito: {}",
    ),
    (
        "file {} of the state folder is damaged: {} records are good, {} bytes are lost",
        "o arquivo {} da pasta de estado está danificado: {} registros são bons, {} bytes se perderam",
    ),
    (
        "{} entries of the queue are not valid and were dropped",
        "{} entradas da fila não são válidas e foram descartadas",
    ),
    ("no peer runs with the state folder {}", "nenhum peer executa com a pasta de estado {}"),
    (
        "several peers run: choose one by --state DIR or --process {}",
        "vários peers executam: escolha um com --state DIR ou --process {}",
    ),
    (
        "no peer of this user runs; start one by cardume peer --state DIR",
        "nenhum peer deste usuário executa; inicie um com cardume peer --state DIR",
    ),
    ("the running peer does not answer: {}", "o peer em execução não responde: {}"),
    ("--state {}: another peer uses this folder", "--state {}: outro peer usa esta pasta"),
    ("--accounts-engine needs --index", "--accounts-engine requer --index"),
    (
        "--index needs --open: members are not shared between servers",
        "--index requer --open: os membros não são compartilhados entre servidores",
    ),
    (
        "--index-ca needs rediss:// in place of redis://",
        "--index-ca requer rediss:// em vez de redis://",
    ),
    (
        "another program has keys of the same names in the engine; choose a --index-prefix",
        "outro programa tem chaves com os mesmos nomes no motor; escolha um --index-prefix",
    ),
    (
        "--index-prefix: at most 64 letters, digits and signs, without braces",
        "--index-prefix: no máximo 64 letras, dígitos e sinais, sem chaves",
    ),
    (
        "the address of an engine begins with redis:// or rediss://",
        "o endereço de um motor começa com redis:// ou rediss://",
    ),
    (
        "the address of an engine needs 1 to 16 hosts: redis://HOST:PORT",
        "o endereço de um motor precisa de 1 a 16 máquinas: redis://HOST:PORT",
    ),
    (
        "the address of an engine has a wrong host; IPv6 needs brackets",
        "o endereço de um motor tem uma máquina errada; IPv6 precisa de colchetes",
    ),
    ("the address of an engine has a wrong port", "o endereço de um motor tem uma porta errada"),
    (
        "the address of an engine has a user without a password",
        "o endereço de um motor tem um usuário sem senha",
    ),
    (
        "the address of an engine has a wrong user or password; write special characters as %XX",
        "o endereço de um motor tem usuário ou senha errados; escreva caracteres especiais como %XX",
    ),
    (
        "the address of an engine has a database; only 0 is possible",
        "o endereço de um motor tem um banco de dados; só 0 é possível",
    ),
    (
        "the address of an engine ends after the hosts; remove ? and #",
        "o endereço de um motor termina depois das máquinas; remova ? e #",
    ),
    ("a link has a number of 8 hex digits", "um link tem um número de 8 dígitos hexadecimais"),
    (
        "a host is like 203.0.113.9, nas.example or nas.example:8443",
        "uma máquina é como 203.0.113.9, nas.example ou nas.example:8443",
    ),
    ("a link lasts at most 49710d", "um link vale no máximo 49710d"),
    ("members: {}", "membros: {}"),
    (
        "audit: row {} was added by another program",
        "auditoria: a linha {} foi acrescentada por outro programa",
    ),
    ("an invite has at most {} bytes", "um convite tem no máximo {} bytes"),
    (
        "the invite has no key: put the whole text between quotes",
        "falta a chave no convite: ponha o texto inteiro entre aspas",
    ),
    ("an invite has at most {} addresses", "um convite tem no máximo {} endereços"),
    (
        "address {} of the invite is not HOST or HOST:PORT",
        "o endereço {} do convite não é HOST nem HOST:PORTA",
    ),
    ("the key of the server in the invite is wrong", "a chave do servidor no convite está errada"),
    ("the token of the invite is wrong", "a senha do convite está errada"),
    ("a rate is like 100MB or 1.5MiB, per second", "uma taxa é como 100MB ou 1.5MiB, por segundo"),
    ("a rate is at least 1 byte a second", "uma taxa é de pelo menos 1 byte por segundo"),
    (
        "a peer is like 127.0.0.1:4000 or rede@127.0.0.1:4000; the legacy profiles are {}",
        "um peer é como 127.0.0.1:4000 ou rede@127.0.0.1:4000; os protocolos antigos são {}",
    ),
    (
        "an address is like 127.0.0.1:4000, [::1]:4000 or [fe80::1%eth0]:4000",
        "um endereço é como 127.0.0.1:4000, [::1]:4000 ou [fe80::1%eth0]:4000",
    ),
    (
        "an address is like 192.0.2.7 or 192.0.2.7:4000",
        "um endereço é como 192.0.2.7 ou 192.0.2.7:4000",
    ),
    (
        "a name is like videos.example, without a port; non-ASCII names begin with xn--",
        "um nome é como videos.example, sem porta; os que não são ASCII começam com xn--",
    ),
    ("a port is like 5000 or 192.168.1.9:5000", "uma porta é como 5000 ou 192.168.1.9:5000"),
    (
        "{} speaks {}, which this server can't serve",
        "{} fala {}, que este servidor não sabe atender",
    ),
    (
        "the UDP ports of music-udp are from 2024 to 65535",
        "as portas UDP do music-udp vão de 2024 a 65535",
    ),
    (
        "the ports of this protocol are from 1024 to 65535, or 0 for a free one",
        "as portas deste protocolo vão de 1024 a 65535, ou 0 para uma livre",
    ),
    (
        "{} is not an edition: use 2020, 2020-int, 2024, 2024-plain, 2025 or fixed",
        "{} não é uma edição: há 2020, 2020-int, 2024, 2024-plain, 2025 e fixed",
    ),
    (
        "a console is napster, rede, music, or uc3m with an optional edition, as in uc3m:2024",
        "um console é napster, rede, music, ou uc3m e talvez a sua edição, como em uc3m:2024",
    ),
    ("sizes are like 700M..4G, 700M.. or ..4G", "tamanhos são como 700M..4G, 700M.. ou ..4G"),
    ("the first size is above the second", "o primeiro tamanho é maior que o segundo"),
    ("a size is like 512MiB or 2GiB", "um tamanho é como 512MiB ou 2GiB"),
    ("an index needs at least {}MiB", "um índice precisa de pelo menos {}MiB"),
    ("a range is like 192.168.0.0/16", "uma faixa é como 192.168.0.0/16"),
    (
        "a UDP port is like 4000 or 192.168.1.9:4000",
        "uma porta UDP é como 4000 ou 192.168.1.9:4000",
    ),
    ("seconds are from 0.01 to 86400", "os segundos vão de 0.01 a 86400"),
    ("an exponent is from 0 to 4", "um expoente vai de 0 a 4"),
    ("a mix is like search=90,join=5,leave=5", "uma mistura é como search=90,join=5,leave=5"),
    ("a mix is of search, join, update and leave", "uma mistura é de search, join, update e leave"),
    ("{} appears twice", "{} aparece duas vezes"),
    ("a weight is a number up to 1000000", "um peso é um número até 1000000"),
    ("at least one weight must be above 0", "pelo menos um peso é maior que 0"),
    ("invalid digit found in string", "não é um número inteiro"),
    ("cannot parse integer from empty string", "falta um número"),
    ("number too large to fit in target type", "o número é grande demais"),
    ("number too small to fit in target type", "o número é pequeno demais"),
    ("{} is not in {}..={}", "{} não está entre {} e {}"),
    ("{}: no such command", "{}: não há este comando"),
    ("--json and -o - both want stdout", "--json e -o - querem ambos a saída padrão"),
    ("--sort {}: name, -name, size or -size", "--sort {}: name, -name, size ou -size"),
    (
        "search for a NAME, --contains TEXT, --like TEXT, or by --ext, --size, --description, --owner",
        "busque por um NAME, --contains TEXT, --like TEXT, ou por --ext, --size, --description, --owner",
    ),
    ("only one of NAME, --contains and --like", "só um entre NAME, --contains e --like"),
    ("--udp-port goes with --transport quic", "--udp-port acompanha --transport quic"),
    (
        "--transport quic needs the index for the key of the peer: omit --from",
        "--transport quic precisa do índice, que conhece a chave de um peer: retire --from",
    ),
    ("this program was built without QUIC", "este programa foi compilado sem QUIC"),
    ("--rpc-log {}: not a HOST[:PORT]", "--rpc-log {}: não é HOST[:PORT]"),
    (
        "--server: all servers of a list need the same key",
        "--server: todos os servidores de uma lista precisam da mesma chave",
    ),
    ("a name is too long", "um nome é longo demais"),
    ("--server: no server is named", "--server: falta o servidor"),
    (
        "a port needs --folder: the files to share",
        "uma porta precisa de --folder: os arquivos a compartilhar",
    ),
    (
        "a description is one line of at most 255 bytes",
        "uma descrição é uma linha de no máximo 255 bytes",
    ),
    ("ls: a peer is missing, such as 127.0.0.1:4000", "ls: falta um peer, como 127.0.0.1:4000"),
    ("--as compares exactly one folder", "--as compara exatamente uma pasta"),
    (
        "no person can answer here: --yes downloads without a question",
        "ninguém pode responder aqui: --yes baixa sem perguntar",
    ),
    ("--hash is the root of exactly one file", "--hash é a raiz de exatamente um arquivo"),
    ("--output is the place of exactly one file", "--output é o lugar de exatamente um arquivo"),
    ("a node of the engine: {}", "um nó do motor: {}"),
    (
        "the engine keeps no file of the accounts: a node that restarts loses them; set appendonly yes",
        "o motor não guarda as contas em arquivo: um nó que reinicia perde-as; use appendonly yes",
    ),
    (
        "the engine has accounts of two origins; no account can be used",
        "o motor tem contas de duas origens; nenhuma conta pode ser usada",
    ),
    ("the list has no name", "a lista não tem nenhum nome"),
    ("--input {}: the list is longer than 64 MiB", "--input {}: a lista passa de 64 MiB"),
    ("--input {}: the list is no UTF-8 text", "--input {}: a lista não é texto UTF-8"),
    ("--for-group: at most {} groups", "--for-group: no máximo {} grupos"),
    ("a group has 1 to 32 of a-z, 0-9 and -", "um grupo tem de 1 a 32 de a-z, 0-9 e -"),
    ("--exclude {}: too long, or too many patterns", "--exclude {}: longo demais, ou um a mais"),
    (
        "--data {}: this program was built without the account store",
        "--data {}: este programa foi compilado sem o armazém de contas",
    ),
    (
        "this program was built without the account store: use --data none to keep accounts in memory only",
        "este programa foi compilado sem o armazém de contas: use --data none para um servidor que esquece as contas",
    ),
    (
        "without a home folder, --data must name the folder of the accounts",
        "sem pasta pessoal, --data tem de dizer onde estão as contas",
    ),
    (
        "a pattern needs a word without -, and at most 255 bytes",
        "um padrão tem pelo menos uma palavra desejada, e no máximo 255 bytes",
    ),
    (
        "{} connections, including --churn: the system allows this process {}",
        "{} conexões com as dos visitantes: o sistema permite {} a este processo",
    ),
    ("--server-pid {}: no such process here", "--server-pid {}: não há este processo aqui"),
    (
        "{} files of each peer need as many names: more peers, or a larger --names than {}",
        "{} arquivos de cada peer precisam de tantos nomes: use mais peers, ou --names maior que {}",
    ),
    (
        "{} files of each peer are more than a server takes: --peers must be larger",
        "{} arquivos de cada peer são mais do que um servidor aceita: aumente --peers",
    ),
    (
        "--mix: without files, and with --resp, the only operation is search",
        "--mix: sem arquivos, e com --resp, só há search a fazer",
    ),
    (
        "--reconnect: without files, and with --resp, no peer joins again",
        "--reconnect: sem arquivos, e com --resp, nenhum peer entra de novo",
    ),
    (
        "--churn: without files, and with --resp, no peer joins or leaves",
        "--churn: sem arquivos, e com --resp, ninguém entra nem sai",
    ),
    ("the loop failed: {}", "o laço de eventos falhou: {}"),
    ("cannot create the system's poll: {}", "o sistema não dá o poll: {}"),
    ("a search needs something to go by", "uma busca precisa de algum critério"),
    ("ext holds at most {} extensions of {} bytes", "ext tem no máximo {} extensões de {} bytes"),
    (
        "an extension is what follows the last dot, without it",
        "uma extensão é o que vem depois do último ponto, sem ele",
    ),
    ("an integer is at most 2^53-1", "um inteiro é no máximo 2^53-1"),
    ("min_size is above max_size", "o tamanho mínimo é maior que o máximo"),
    ("limit is not from 1 to {}", "o limite não está entre 1 e {}"),
    (
        "contains holds at most {} bytes and {} words",
        "--contains tem no máximo {} bytes e {} palavras",
    ),
    ("like holds at most {} bytes and {} words", "--like tem no máximo {} bytes e {} palavras"),
    (
        "description holds at most {} bytes and {} words",
        "--description tem no máximo {} bytes e {} palavras",
    ),
    ("contains holds no word to look for", "--contains não tem palavra que se possa buscar"),
    ("like holds no word to look for", "--like não tem palavra que se possa buscar"),
    ("description holds no word to look for", "--description não tem palavra que se possa buscar"),
    (
        "{}: line {}: expected a name, a blank and a path",
        "{}: linha {}: esperava um nome, um espaço e um caminho",
    ),
    (
        "{}: line {}: {}: what begins with a dot is not shared",
        "{}: linha {}: {}: o que começa com ponto não é compartilhado",
    ),
    (
        "{}: line {}: {}: a name with folders needs --recursive",
        "{}: linha {}: {}: um nome com pastas precisa de --recursive",
    ),
    ("{}: line {}: {}: not the path of a file", "{}: linha {}: {}: não é o caminho de um arquivo"),
    (
        "{}: line {}: {}: a secret key is not shared",
        "{}: linha {}: {}: uma chave secreta não é compartilhada",
    ),
    ("{}: line {}: {}: not a list of groups", "{}: linha {}: {}: não é uma lista de grupos"),
    ("{}: line {}: {}: this name came before", "{}: linha {}: {}: este nome já apareceu"),
    ("{}: line {}: {}: no such file", "{}: linha {}: {}: não há este arquivo"),
    ("{}: line {}: {}", "{}: linha {}: {}"),
    ("{}: a manifest has at most {} MiB", "{}: um manifesto tem no máximo {} MiB"),
    ("{}:{}: the quotes don't match", "{}:{}: as aspas não fecham"),
    ("{}:{}: the row has more than {} bytes", "{}:{}: a linha tem mais de {} bytes"),
    ("{}:{}: this is not UTF-8", "{}:{}: não é UTF-8"),
    ("{}:{}: {} fields instead of {}", "{}:{}: {} campos em lugar de {}"),
    ("{}:{}: not a valid user name", "{}:{}: nenhum usuário pode ter este nome"),
    (
        "{}:{}: a key has 64 lower-case hex digits, and must not be weak",
        "{}:{}: uma chave tem 64 dígitos hexadecimais minúsculos, e não é uma que qualquer um poderia usar",
    ),
    ("{}:{}: not an IP and port", "{}:{}: não é um IP e uma porta"),
    ("{}:{}: not the name of a protocol", "{}:{}: nenhum protocolo tem este nome"),
    ("{}:{}: not a valid file name", "{}:{}: nenhum arquivo pode ser publicado com este nome"),
    ("{}:{}: not a valid description", "{}:{}: não pode ser uma descrição"),
    ("{}:{}: users.csv has no such user", "{}:{}: users.csv não tem este usuário"),
    (
        "{}: files of users missing from users.csv, skipped: {}",
        "{}: arquivos de usuários que users.csv não nomeia, deixados de fora: {}",
    ),
    (
        "{}: a newer cardume has written accounts.sqlite (form {}, this one knows {})",
        "{}: um cardume mais novo gravou accounts.sqlite (formato {}, este conhece {})",
    ),
    ("{}: there is no accounts.sqlite", "{}: não há accounts.sqlite"),
    ("{}: not a folder", "{}: não é uma pasta"),
    (
        "a connection from {} could not be registered: {}",
        "uma conexão de {} não pôde ser registrada: {}",
    ),
    ("{} is turned away: too many connections", "{} é recusado: conexões demais"),
    ("no more connections for now: {}", "sem novas conexões por enquanto: {}"),
    (
        "a connection from {} is closed: it stalls in the middle of a request, and others need its memory",
        "uma conexão de {} é fechada: ela parou no meio de um pedido, e outras precisam da memória",
    ),
    (
        "a connection from {} is closed: too many answers wait for it",
        "uma conexão de {} é fechada: respostas demais esperam por ela",
    ),
    (
        "the port mapper does not take our port; the index has to be told it, by --rpc-log HOST:PORT",
        "o mapeador de portas não aceita a nossa porta; informe-a ao índice, com --rpc-log HOST:PORT",
    ),
    ("accounts: {}", "contas: {}"),
    (
        "the operation log does not keep up: its oldest lines are dropped",
        "o log de operações não acompanha: as linhas mais antigas são descartadas",
    ),
    ("the operation log is there again", "o log de operações voltou"),
    (
        "{} lines of the operation log were dropped",
        "{} linhas do log de operações foram descartadas",
    ),
    ("the operation log is away: {}", "o log de operações está ausente: {}"),
    ("the server says: {}", "o servidor diz: {}"),
    (
        "{}: its bytes are others than those that were hashed; it is hashed anew",
        "{}: os bytes não são mais os do hash; ele é calculado de novo",
    ),
    (
        "{}: the record could not be written: {}",
        "{}: o registro do download não pôde ser gravado: {}",
    ),
    (
        "{} lines of {} found no reader in time and were dropped",
        "{} linhas de {} não acharam leitor a tempo e foram descartadas",
    ),
    (
        "the connections by QUIC of a port are given up: their state is broken",
        "as conexões QUIC de uma porta são abandonadas: o estado delas está corrompido",
    ),
    ("{} is skipped: its key is weak", "{} fica de fora: qualquer um poderia usar a chave"),
    ("the log of {} grows: {}", "o log de {} cresce: {}"),
    ("{} does not roll back: {}", "{} não desfaz a transação: {}"),
    (
        "users who are gone stay in {} for now: {}",
        "usuários que saíram ficam em {} por enquanto: {}",
    ),
    ("{}: only the first {} files are taken", "{}: só os primeiros {} arquivos são considerados"),
    ("{} is not read: {}", "{} não foi lido: {}"),
    (
        "others may read the key of this user: chmod 600 it",
        "outros podem ler a chave deste usuário: use chmod 600 nela",
    ),
    (
        "{}: its .part was written by another program, and is hashed",
        "{}: o .part foi gravado por outro programa, e o hash é calculado",
    ),
    (
        "{}: {} pieces were wrong and are fetched again",
        "{}: {} peças estavam erradas e são baixadas de novo",
    ),
    ("the first refusal: {}", "a primeira recusa: {}"),
    ("no key for a pass: {}", "sem chave para um passe: {}"),
    ("no key for the pass: {}", "sem chave para o passe: {}"),
    ("audit: {}", "auditoria: {}"),
    (
        "others may read the servers of this user: chmod 600 the file",
        "outros podem ler os servidores deste usuário: chmod 600 no arquivo",
    ),
    (
        "cannot tell the user of a local connection: {}",
        "não dá para saber de quem é uma conexão local: {}",
    ),
    ("join: an invite is missing", "join: falta o convite"),
    (
        "join: say --name, as your account has no name",
        "join: diga --name, pois a sua conta não tem nome",
    ),
    ("revoke: a name is missing", "revoke: falta um nome"),
    ("a member is in at most 16 groups", "um membro está em no máximo 16 grupos"),
    (
        "the address belongs to a server with the key {}, and the invite has {}: say --replace if that is right",
        "o endereço é de um servidor com a chave {}, e o convite traz {}: diga --replace se está certo",
    ),
    ("a group is a word of a-z, 0-9 and -", "um grupo é uma palavra de a-z, 0-9 e -"),
    ("a name must not {}", "um nome não pode {}"),
    ("a role is read, share or admin", "um papel é read, share ou admin"),
    (
        "an invite has a number of 8 hex digits",
        "um convite tem um número de 8 dígitos hexadecimais",
    ),
    ("a time is like 90s, 15m, 24h or 30d", "um tempo é como 90s, 15m, 24h ou 30d"),
    ("{}: this is no certificate in PEM", "{}: isto não é um certificado em PEM"),
    ("{}: the certificate has errors", "{}: o certificado tem erros"),
    ("{}: the certificate has no DNS name", "{}: o certificado não tem nome DNS"),
    (
        "{}: this is no key in PEM, or a key with a passphrase",
        "{}: isto não é uma chave em PEM, ou é uma chave com senha",
    ),
    ("{}: the key is not of RSA, ECDSA or Ed25519", "{}: a chave não é de RSA, ECDSA nem Ed25519"),
    ("{}: the key belongs to another certificate", "{}: a chave é de outro certificado"),
    (
        "{}: every user may read the key: chmod 600 it",
        "{}: qualquer usuário pode ler a chave: use chmod 600 nela",
    ),
    (
        "{}: the certificate has expired, and browsers refuse it",
        "{}: o certificado expirou, e os navegadores o recusam",
    ),
    (
        "{}: the certificate is not valid yet, and browsers refuse it",
        "{}: o certificado ainda não vale, e os navegadores o recusam",
    ),
    ("the earlier certificate stays in use", "o certificado anterior continua em uso"),
    ("a name is a line of at most 64 bytes", "um nome é uma linha de no máximo 64 bytes"),
    (
        "an address is like video.example.org or 192.168.1.9:1099",
        "um endereço é como video.example.org ou 192.168.1.9:1099",
    ),
    (
        "the server announces a next key with a wrong signature: ignored",
        "o servidor anuncia uma próxima chave com assinatura errada: ignorada",
    ),
    (
        "the server announces another next key than before: ignored",
        "o servidor anuncia outra próxima chave que não a de antes: ignorada",
    ),
    (
        "the server announces a next key of a wrong form: ignored",
        "o servidor anuncia uma próxima chave de forma errada: ignorada",
    ),
    ("the new key of the server is not kept: {}", "a nova chave do servidor não foi guardada: {}"),
    ("the next key does not take over: {}", "a próxima chave não passa a valer: {}"),
    ("the key of the server is not read: {}", "a chave do servidor não pode ser lida: {}"),
    ("the server has the key {} from now on", "o servidor tem a chave {} a partir de agora"),
    (
        "the next key of the server is announced: {}",
        "a próxima chave do servidor está anunciada: {}",
    ),
    ("the new key is not shown: {}", "a nova chave não é mostrada: {}"),
    (
        "no next key is announced: rotate-key without --finish announces one",
        "nenhuma próxima chave está anunciada: rotate-key sem --finish anuncia uma",
    ),
    (
        "the next key has just taken over: nothing is left to do",
        "a próxima chave acaba de passar a valer: nada resta a fazer",
    ),
    (
        "the next key {} is announced already: --finish lets it take over now",
        "a próxima chave {} já está anunciada: --finish faz que passe a valer agora",
    ),
    (
        "the server has this key: a running server shows it within seconds, a stopped one from its next start on",
        "o servidor tem esta chave: um servidor em execução a mostra em segundos, um parado desde a próxima partida",
    ),
    (
        "this key takes over in 30 days: a running server announces it within seconds, a stopped one from its next start on",
        "esta chave passa a valer em 30 dias: um servidor em execução a anuncia em segundos, um parado desde a próxima partida",
    ),
    ("{}: no server has a key here", "{}: nenhum servidor tem uma chave aqui"),
    ("{}: the file is missing", "{}: o arquivo não existe"),
    (
        "the server is another one: only members of the earlier server are served",
        "o servidor é outro: só os membros do anterior são servidos",
    ),
    ("an invite begins with cardume://", "um convite começa com cardume://"),
    ("a reason is one line of at most 255 bytes", "um motivo é uma linha de no máximo 255 bytes"),
    ("the limits are {}", "os limites são {}"),
    ("{} is a number from {} to {}, or default", "{} é um número de {} a {}, ou default"),
    (
        "a range is like 192.0.2.7, 10.1.0.0/16 or 2001:db8::/64",
        "uma faixa é como 192.0.2.7, 10.1.0.0/16 ou 2001:db8::/64",
    ),
    (
        "the address of a range has no bits behind the prefix",
        "o endereço de uma faixa não tem bits depois do prefixo",
    ),
    (
        "a range of all addresses would ban everyone",
        "uma faixa de todos os endereços baniria a todos",
    ),
    ("{}: the settings are no UTF-8 text", "{}: a configuração não é texto UTF-8"),
    ("{}: the settings are longer than 1 MiB", "{}: a configuração tem mais de 1 MiB"),
    ("{}: no valid TOML: {}", "{}: TOML inválido: {}"),
    (
        "{}: the key {} is in no section, such as [server]",
        "{}: a chave {} está fora de uma seção, como [server]",
    ),
    ("{}: unknown section {}", "{}: seção desconhecida {}"),
    ("{}: unknown key {} in [{}]", "{}: chave desconhecida {} em [{}]"),
    ("{}: {} is true or false", "{}: {} é true ou false"),
    ("{}: {} is a text or a number", "{}: {} é um texto ou um número"),
    ("{}: {} is a single value, without brackets", "{}: {} é um valor só, sem colchetes"),
    ("{}: the value is no UTF-8 text", "{}: o valor não é texto UTF-8"),
    ("{}: {} is neither true nor false", "{}: {} não é true nem false"),
    ("no settings file: {}", "não há arquivo de configuração: {}"),
    (
        "a schedule is like '08:00-18:00 upload=1MB download=none'",
        "um horário é como '08:00-18:00 upload=1MB download=none'",
    ),
    ("the settings stay as they are: {}", "a configuração fica como está: {}"),
    ("the log goes on in the earlier file: {}", "o log continua no arquivo anterior: {}"),
    (
        "the settings are read again, and none has changed",
        "a configuração foi lida de novo, e nada mudou",
    ),
    ("{} is {} from now on", "{} é {} a partir de agora"),
    ("{} is not set any more", "{} não está mais definido"),
    ("{} has changed and needs a restart", "{} mudou e exige um reinício"),
    ("{} stays as it is: {}", "{} fica como está: {}"),
    (
        "no server or peer of this user runs",
        "nenhum servidor ou peer deste usuário está em execução",
    ),
    ("process {} does not answer", "o processo {} não responde"),
    ("--log-file {}: {}", "--log-file {}: {}"),
    (
        "the hook {} is left out: too many calls wait",
        "o hook {} é omitido: há chamadas demais à espera",
    ),
    ("the hook {} cannot be started: {}", "o hook {} não pode ser iniciado: {}"),
    ("the hook {} ran too long and was killed: {}", "o hook {} demorou demais e foi morto: {}"),
    ("the hook {} failed with {}: {}", "o hook {} falhou com {}: {}"),
    ("the hook {} is lost: {}", "o hook {} se perdeu: {}"),
    ("--incomplete-dir {}: {}", "--incomplete-dir {}: {}"),
    (
        "another file system than the folder of the downloads",
        "outro sistema de arquivos que não o da pasta dos downloads",
    ),
    ("the folder has files already", "a pasta já tem arquivos"),
    (
        "not done after {} s; repeat the command to go on",
        "não terminou em {} s; repita o comando para continuar",
    ),
    ("the passed socket {} does not listen for TCP", "o socket recebido {} não escuta por TCP"),
];
