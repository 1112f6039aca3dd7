#include <stdio.h>
#include <unistd.h>

int main(void) {
    printf("%s, as user %d.\n", GREETING, getuid());
    return 0;
}
