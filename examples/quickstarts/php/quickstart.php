<?php

/*
Hears the events of a Bitrix24 application by long polling, with the extension curl.

    php quickstart.php PROGRAM [FLAGS]

PROGRAM is b24pull, which plays the portal: "PROGRAM portal FLAGS" is started, and ended.
On a real portal use Portal and Events with its address and a token.
*/

declare(strict_types=1);

/** HTTP by curl; several requests can be under way. */
final class Http
{
    public function __construct(private ?string $authority = null)
    {
    }

    public function handle(string $url, int $timeout, ?array $json = null): CurlHandle
    {
        $handle = curl_init($url);
        curl_setopt_array($handle, [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => $timeout, CURLOPT_CONNECTTIMEOUT => 30]);
        if ($this->authority !== null) {
            curl_setopt($handle, CURLOPT_CAINFO, $this->authority);
        }
        if ($json !== null) {
            // An empty array is an object, too.
            $body = json_encode((object) $json, JSON_THROW_ON_ERROR);
            curl_setopt_array($handle, [CURLOPT_POSTFIELDS => $body, CURLOPT_HTTPHEADER => ['Content-Type: application/json']]);
        }
        return $handle;
    }

    public function post(string $url, array $json): array
    {
        $handle = $this->handle($url, 30, $json);
        $answer = curl_exec($handle);
        if ($answer === false) {
            throw new RuntimeException('POST: ' . curl_strerror(curl_errno($handle)));
        }
        return json_decode($answer, true, flags: JSON_THROW_ON_ERROR);
    }
}

/** REST of a portal with an OAuth token. No error tells the token. */
final class Portal
{
    public function __construct(public readonly Http $http, private string $address, #[SensitiveParameter] private string $token)
    {
    }

    public function call(string $method, array $params = []): mixed
    {
        $answer = $this->http->post("$this->address/rest/$method", $params + ['auth' => $this->token]);
        if (!array_key_exists('result', $answer)) {
            throw new RuntimeException("$method: " . json_encode($answer['error'] ?? null));
        }
        return $answer['result'];
    }
}

/**
 * A subscriber's events: kept ones each once, whatever is cut.
 *
 * It hangs from the greatest mid it has seen. Mids are not the order in which messages are stored, so after each answer
 * it reads the history once more, from a mid that is old enough for nothing to turn up below it.
 */
final class Events
{
    private const ZEROS = '00000000000000000000000000';
    private const LATE = 5; // seconds that a message takes at most from its id to the history

    public int $version;
    private string $address;
    private array $query;
    private array $seen = []; // when each mid came; strings of 26 digits stay strings as keys
    private string $highest = self::ZEROS;
    private string $settled = self::ZEROS;
    private array $waiting = [];
    private CurlMultiHandle $multi;
    private ?CurlHandle $hanging = null;

    public function __construct(private Portal $portal)
    {
        $this->multi = curl_multi_init();
        $this->configure();
        $this->settle();
        $this->waiting = []; // what was there before
    }

    private function configure(): void
    {
        $config = $this->portal->call('pull.application.config.get');
        $server = $config['server'];
        $this->version = (int) $server['version'];
        if ($this->version < 3) {
            throw new RuntimeException('mids begin with version 3');
        }
        $this->address = $server['long_pooling_secure'] ?? $server['long_polling_secure'];
        $ids = [$config['channels']['private']['id'] ?? null, $config['channels']['shared']['id'] ?? null];
        $this->query = array_filter([
            'revision' => 19,
            'token' => $config['jwt'] ?? null,
            'CHANNEL_ID' => isset($config['jwt']) ? null : implode('/', array_filter($ids)),
            'clientId' => $config['clientId'] ?? null,
            'format' => $this->version >= 4 ? 'json' : null,
        ]);
    }

    private function handle(string $mid, int $timeout): CurlHandle
    {
        return $this->portal->http->handle($this->address . '?' . http_build_query($this->query + ['mid' => $mid]), $timeout);
    }

    /** Takes a poll's answer: its messages, none if none came in time; null if it failed. */
    private function take(CurlHandle $poll, int $error, ?string $body): ?array
    {
        $status = curl_getinfo($poll, CURLINFO_RESPONSE_CODE);
        if ($error === CURLE_OPERATION_TIMEDOUT || $error === CURLE_OK && $status === 304) {
            return [];
        }
        if ($error !== CURLE_OK || $status !== 200) {
            if ($status === 400) {
                $this->configure(); // the channels have ended
            }
            return null; // no words: they would hold the address, and so the channels
        }
        $messages = self::decode($body);
        foreach ($messages as $message) {
            if (!isset($this->seen[$message['mid']])) {
                $this->seen[$message['mid']] = hrtime(true) / 1e9;
                $this->waiting[$message['mid']] = $message['text'];
            }
            // max would take them for numbers, and round them.
            $this->highest = strcmp($message['mid'], $this->highest) > 0 ? $message['mid'] : $this->highest;
        }
        return $messages;
    }

    /** JSON from version 4 on, before that each message between two marks. */
    private static function decode(string $body): array
    {
        if (str_starts_with($body, '[')) {
            return json_decode($body, true, flags: JSON_THROW_ON_ERROR);
        }
        $messages = [];
        $text = '';
        foreach (explode('#!NGINXNME!#', $body) as $part) {
            // What ends a message can stand within it, too.
            $text .= $text === '' ? preg_replace('/^#!NGINXNMS!#/', '', $part) : '#!NGINXNME!#' . $part;
            $message = json_decode($text, true);
            if ($message !== null) {
                $messages[] = $message;
                $text = '';
            }
        }
        return $messages;
    }

    /**
     * Reads from just before what is settled: what is kept from there on is there at once, and complete.
     *
     * Should nothing be kept any more, a live message can answer, which is too young to settle anything.
     */
    private function settle(): void
    {
        $began = hrtime(true) / 1e9;
        $poll = $this->handle(self::before($this->settled), 2);
        $body = curl_exec($poll);
        $messages = $this->take($poll, curl_errno($poll), $body === false ? null : $body);
        $mids = array_column($messages ?? [], 'mid');
        foreach ($mids as $mid) {
            if (strcmp($mid, $this->settled) > 0 && $this->seen[$mid] < $began - self::LATE) {
                $this->settled = $mid;
            }
        }
        $this->seen = array_filter($this->seen, fn ($came, $mid) => strcmp((string) $mid, $this->settled) >= 0 || $came > $began - 300, ARRAY_FILTER_USE_BOTH);
    }

    /** The mid before one: its 26 digits are too many for an int. */
    private static function before(string $mid): string
    {
        for ($i = strlen($mid) - 1; $i >= 0 && $mid[$i] === '0'; $i--) {
            $mid[$i] = '9';
        }
        if ($i < 0) {
            return self::ZEROS;
        }
        $mid[$i] = chr(ord($mid[$i]) - 1);
        return $mid;
    }

    /** Lets the poll go on for a moment; others can be asked meanwhile. */
    public function work(): void
    {
        if ($this->hanging === null) {
            $this->hanging = $this->handle($this->highest, 60);
            curl_multi_add_handle($this->multi, $this->hanging);
        }
        curl_multi_exec($this->multi, $running);
        curl_multi_select($this->multi, 0.05);
        while ($done = curl_multi_info_read($this->multi)) {
            $messages = $this->take($done['handle'], $done['result'], curl_multi_getcontent($done['handle']));
            $this->stop();
            if ($messages === null) {
                usleep(500_000);
            }
            $this->settle();
        }
    }

    private function stop(): void
    {
        if ($this->hanging !== null) {
            curl_multi_remove_handle($this->multi, $this->hanging);
            $this->hanging = null;
        }
    }

    /** Waits for the next event. */
    public function next(): array
    {
        while (true) {
            while ($this->waiting === []) {
                $this->work();
            }
            ksort($this->waiting, SORT_STRING);
            $event = array_shift($this->waiting);
            if (strtolower($event['module_id']) !== 'pull') {
                return $event;
            }
            $this->stop();
            $this->configure(); // channel_expire, config_expire
        }
    }
}

function hear(Events $events): void
{
    $event = $events->next();
    echo $event['command'], ': ', $event['params']['text'], "\n";
}

function main(string $program, string ...$flags): void
{
    $emulator = @proc_open([$program, 'portal', ...$flags], [1 => ['pipe', 'w']], $pipes);
    if ($emulator === false) {
        throw new RuntimeException("cannot start $program");
    }
    try {
        $line = fgets($pipes[1]);
        if ($line === false) {
            while (($status = proc_get_status($emulator))['running']) {
                usleep(1000);
            }
            if ($status['exitcode'] === 127) {
                throw new RuntimeException("cannot start $program: there is no such program, or it may not be run");
            }
            throw new RuntimeException('the portal does not start');
        }
        $ready = json_decode($line, true, flags: JSON_THROW_ON_ERROR);
        $it = $ready['portals'][0];
        $http = new Http($ready['ca_file']);
        $control = fn (string $action, array $params = []) => $http->post("{$ready['control']}/v1/portals/{$it['name']}/$action", $params);

        $events = new Events(new Portal($http, $it['url'], $it['access_token']));
        echo "version $events->version\n";
        $events->work();
        $control('emit', ['command' => 'greeting', 'params' => ['text' => 'hello']]);
        hear($events);
        do {
            $events->work(); // it may be between two polls
        } while ($control('cut')['connections'] === 0);
        echo "cut\n";
        $control('emit', ['command' => 'greeting', 'params' => ['text' => 'hello again']]);
        hear($events);
    } finally {
        proc_terminate($emulator);
        proc_close($emulator);
    }
}

if (realpath($_SERVER['SCRIPT_FILENAME']) === __FILE__) {
    if ($argc < 2) {
        fwrite(STDERR, "usage: php quickstart.php PROGRAM [FLAGS]\n");
        exit(2);
    }
    try {
        main(...array_slice($argv, 1));
    } catch (RuntimeException | JsonException $e) {
        fwrite(STDERR, $e->getMessage() . "\n");
        exit(1);
    }
}
