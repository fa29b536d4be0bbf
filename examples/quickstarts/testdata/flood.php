<?php

// Prints the number of each event that Events gives, for a test that leads it by stdin.

declare(strict_types=1);

require __DIR__ . '/../php/quickstart.php';

$it = json_decode(fgets(STDIN), true, flags: JSON_THROW_ON_ERROR);
$events = new Events(new Portal(new Http($it['authority']), $it['url'], $it['token']));
echo "ready\n";
while (true) {
    echo $events->next()['params']['n'], "\n";
}
