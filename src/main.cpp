#include "qtune/cli/cli.h"

int main(int argc, char** argv) { return qtune::run_command_line(argc, argv); }
