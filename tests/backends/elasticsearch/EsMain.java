package node;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginBundle;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * EsMain HOME WORK HTTP_PORT TRANSPORT_PORT [SETTING=VALUE...]: one node with HOME/modules loaded as in a distribution, all
 * it writes under WORK, at loopback unless a setting says otherwise.
 */
public class EsMain {
  public static void main(String[] arguments) throws Exception {
    Path home = Path.of(arguments[0]).toAbsolutePath();
    Path work = Path.of(arguments[1]).toAbsolutePath();
    LogConfigurator.configureESLogging();
    Settings.Builder builder = Settings.builder()
        .put("cluster.name", "theodore")
        .put("node.name", "only")
        .put("path.home", home.toString())
        .put("path.data", work.resolve("data").toString())
        .put("path.logs", work.resolve("logs").toString())
        .put("network.host", "127.0.0.1")
        .put("http.port", arguments[2])
        .put("transport.port", arguments[3])
        .put("discovery.type", "single-node")
        .put("cluster.routing.allocation.disk.threshold_enabled", false);
    for (String setting : Arrays.asList(arguments).subList(4, arguments.length)) {
      builder.put(setting.substring(0, setting.indexOf('=')), setting.substring(setting.indexOf('=') + 1));
    }
    Environment environment = new Environment(builder.build(), work.resolve("config"));
    Set<PluginBundle> modules = PluginsLoader.loadModulesBundles(home.resolve("modules"));
    Node node = new Node(environment, PluginsLoader.createPluginsLoader(modules, Set.of(), Map.of(), Node.class.getModule().isNamed()));
    node.start();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try {
        node.close();
      } catch (Exception ignored) {
        // It ends either way.
      }
    }));
    new CountDownLatch(1).await();
  }
}
